import DiskCore
import TestSupport
import Testing

/// 64 KiB of table are one page.
private let pageBytes = 65536

@Suite struct PagedTableTests {
  /// Entry `i` is `i`, big-endian, in a file that starts with 100 other bytes.
  private func file(entries: Int) -> FaultyStorage {
    var bytes = [UInt8](repeating: 0xEE, count: 100)
    for index in 0..<entries {
      let value = UInt32(index)
      bytes += [
        UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255),
      ]
    }
    return FaultyStorage(MemoryStorage(bytes, path: "table.img"))
  }

  private func entry(_ index: Int, _ table: PagedTable<UInt32>) throws -> UInt32 {
    let page = try table.page(holding: index)
    return page.entries[index - page.first]
  }

  @Test func pagesAreReadWhenAskedFor() throws {
    let storage = file(entries: 40_000)
    let table = try PagedTable<UInt32>(in: storage, at: FileOffset(100), count: 40_000, .big)
    #expect(storage.reads.isEmpty && table.count == 40_000 && table.byteCount == 160_000)
    for index in [16_384, 32_767, 20_000] { #expect(try entry(index, table) == UInt32(index)) }
    #expect(storage.reads == [.init(offset: 100 + 65536, count: pageBytes)])
    for index in [0, 16_383, 32_768, 39_999] { #expect(try entry(index, table) == UInt32(index)) }
    #expect(
      storage.reads.dropFirst() == [
        .init(offset: 100, count: pageBytes),
        // The last page is as short as the table.
        .init(offset: 100 + 131_072, count: 160_000 - 131_072),
      ])
  }

  @Test func bothByteOrdersAndWidths() throws {
    let storage = MemoryStorage([1, 2, 3, 4, 5, 6, 7, 8])
    let little = try PagedTable<UInt16>(in: storage, at: .start, count: 4, .little)
    #expect(try little.page(holding: 0).entries == [0x0201, 0x0403, 0x0605, 0x0807])
    let big = try PagedTable<UInt64>(in: storage, at: .start, count: 1, .big)
    #expect(try big.page(holding: 0).entries == [0x0102_0304_0506_0708])
    let bytes = try PagedTable<UInt8>(in: storage, at: FileOffset(6), count: 2, .big)
    #expect(try bytes.page(holding: 1).entries == [7, 8])
  }

  @Test func oneReadForManyThreads() throws {
    let storage = file(entries: 40_000)
    let table = try PagedTable<UInt32>(in: storage, at: FileOffset(100), count: 40_000, .big)
    let arrived = Shared(0)
    storage.beforeRead { _ in Threads.wait { arrived.value == 16 } }
    let values = Threads.results(16) { thread -> UInt32? in
      arrived.change { $0 += 1 }
      let page = try? table.page(holding: 1000 + thread)
      return page?.entries[1000 + thread]
    }
    #expect(values == (1000..<1016).map { UInt32($0) })
    #expect(storage.reads.count == 1)
  }

  /// While one page is being read, another can be had: no lock is held across I/O.
  @Test func oneSlowPageDoesNotHoldUpTheOthers() throws {
    let storage = file(entries: 40_000)
    let table = try PagedTable<UInt32>(in: storage, at: FileOffset(100), count: 40_000, .big)
    let isDone = Shared(false)
    let sawTheOther = Shared(false)
    storage.beforeRead { read in
      guard read.offset == 100 else { return }
      Threads.wait { isDone.value }
      sawTheOther.change { $0 = isDone.value }
    }
    let values = Threads.results(2) { thread -> UInt32? in
      if thread == 0 { return try? table.page(holding: 5).entries[5] }
      Threads.wait { !storage.reads.isEmpty }
      let value = try? table.page(holding: 16_384).entries[0]
      isDone.change { $0 = true }
      return value
    }
    #expect(values == [5, 16_384])
    #expect(sawTheOther.value)
  }

  @Test func aFailedReadIsTriedAgain() throws {
    let storage = file(entries: 10)
    let table = try PagedTable<UInt32>(in: storage, at: FileOffset(100), count: 10, .big)
    storage.fail(read: 1, with: .inputOutput)
    let error = #expect(throws: DiskError.self) { try table.page(holding: 3) }
    #expect(error?.kind == .inputOutput && error?.path == "table.img" && error?.offset == 100)
    #expect(try entry(3, table) == 3)
  }

  @Test func oldPagesMakeRoom() throws {
    let resident = Limits.residentTable / pageBytes
    let pages = resident + 2
    let entriesPerPage = pageBytes / 8
    let storage = FaultyStorage(
      MemoryStorage(size: UInt64(pages * pageBytes), pieces: [(0, [1]), (65536, [2])]))
    let table = try PagedTable<UInt64>(
      in: storage, at: .start, count: pages * entriesPerPage, .little)
    func touch(_ page: Int) throws -> Int {
      storage.forgetReads()
      _ = try table.page(holding: page * entriesPerPage)
      return storage.reads.count
    }
    for page in 0..<resident { #expect(try touch(page) == 1) }
    #expect(try touch(0) == 0, "all that fit are kept")
    #expect(try touch(resident) == 1)
    #expect(try touch(resident) == 0)
    #expect(try touch(1) == 0)
    #expect(try touch(0) == 1, "the first one made room")
    #expect(try touch(2) == 0)
    #expect(try touch(1) == 1, "then the second")
    #expect(try table.page(holding: 0).entries[0] == 1)
    #expect(try table.page(holding: entriesPerPage).entries[0] == 2)
  }

  @Test(
    arguments: [
      (at: 100, count: 11), (at: 101, count: 10), (at: 140, count: 1), (at: 141, count: 0),
      (at: .max, count: 1), (at: .max - 39, count: 10), (at: 0, count: .max), (at: .max, count: 0),
    ] as [(at: UInt64, count: Int)])
  func tablesPastTheEndAreRefused(_ at: UInt64, _ count: Int) throws {
    let storage = file(entries: 10)
    let error = #expect(throws: DiskError.self) {
      try PagedTable<UInt32>(in: storage, at: FileOffset(at), count: count, .big)
    }
    #expect(error?.kind == .truncated && error?.path == "table.img" && error?.offset == at)
    #expect(storage.reads.isEmpty)
  }

  @Test func aTableOfNothing() throws {
    let storage = file(entries: 10)
    #expect(
      try PagedTable<UInt32>(in: storage, at: FileOffset(140), count: 0, .big).byteCount == 0)
  }

  @Test func goesWithItsOwnerAndLetsTheFileGo() throws {
    weak var seenTable: PagedTable<UInt32>?
    weak var seenStorage: FaultyStorage?
    do {
      let storage = file(entries: 20_000)
      let table = try PagedTable<UInt32>(in: storage, at: FileOffset(100), count: 20_000, .big)
      seenTable = table
      seenStorage = storage
      for index in [0, 19_999] { #expect(try entry(index, table) == UInt32(index)) }
      #expect(seenTable != nil && seenStorage != nil)
    }
    #expect(seenTable == nil && seenStorage == nil)
  }
}
