import DiskCore
import TestSupport
import Testing

@Suite struct TablePagesTests {
  /// 64 KiB are read at a time: 8,192 entries of 64 bits.
  private static let perPage = 8192

  /// Big-endian words that say where they stand.
  private func words(_ count: Int) -> [UInt8] {
    var bytes = ImageBytes(count: count * 8)
    for index in 0..<count { bytes.putBig(UInt64(index), at: index * 8) }
    return bytes.bytes
  }

  @Test func tablesOfOnePage() throws {
    let storage = FaultyStorage(MemoryStorage(words(1000)))
    let pages = TablePages<UInt64>(in: storage, entriesPerTable: 100, .big)
    #expect(storage.reads.isEmpty)
    for (table, index) in [(0, 0), (0, 99), (800, 0), (800, 7), (16, 99), (7200, 99)] {
      let entry = try pages.entry(index, ofTableAt: FileOffset(UInt64(table)))
      #expect(entry == UInt64(table / 8 + index))
    }
    // Tables can overlap, and be anywhere; each is read once.
    #expect(storage.reads.map(\.offset) == [0, 800, 16, 7200])
    #expect(storage.reads.allSatisfy { $0.count == 800 })
  }

  @Test func tablesOfManyPages() throws {
    let count = 2 * Self.perPage + 5
    let storage = FaultyStorage(MemoryStorage(words(count + 3)))
    let pages = TablePages<UInt64>(in: storage, entriesPerTable: count, .big)
    let table = FileOffset(24)
    for index in [0, Self.perPage - 1, Self.perPage, 2 * Self.perPage, count - 1] {
      #expect(try pages.entry(index, ofTableAt: table) == UInt64(index + 3))
      let page = try pages.page(ofTableAt: table, holding: index)
      #expect(page.first == index / Self.perPage * Self.perPage)
    }
    // The last page is as short as the table.
    #expect(storage.reads.map(\.count) == [65536, 65536, 40])
  }

  @Test func pastTheEndOfTheFile() throws {
    let pages = TablePages<UInt64>(
      in: MemoryStorage(words(100), path: "x.img"), entriesPerTable: 100, .little)
    for offset in [8, 800, 1 << 40, UInt64.max - 100, .max] {
      let error = #expect(throws: DiskError.self) {
        try pages.entry(0, ofTableAt: FileOffset(offset))
      }
      #expect(error?.kind == .truncated && error?.path == "x.img" && error?.offset == offset)
    }
    #expect(try pages.entry(99, ofTableAt: .start) == UInt64(99).byteSwapped)
  }

  /// The place of a page far inside a table at the end of 64 bits has no number.
  @Test func atTheEndOfAllNumbers() {
    let pages = TablePages<UInt64>(
      in: MemoryStorage(words(1)), entriesPerTable: 100_000, .little)
    let error = #expect(throws: DiskError.self) {
      try pages.entry(99_999, ofTableAt: FileOffset(.max - 8))
    }
    #expect(error?.kind == .malformed)
  }

  @Test func staysWithinItsMemory() throws {
    // Four times what may stay, in tables of 64 KiB.
    let tables = 4 * Limits.residentTable / 65536
    let storage = FaultyStorage(MemoryStorage(size: UInt64(tables) * 65536, pieces: []))
    let pages = TablePages<UInt64>(in: storage, entriesPerTable: Self.perPage, .big)
    func touch(_ table: Int) throws {
      _ = try pages.entry(0, ofTableAt: FileOffset(UInt64(table) * 65536))
    }
    for table in 0..<tables { try touch(table) }
    #expect(storage.reads.count == tables)
    // The last quarter stayed; what was before it is read again.
    for table in tables * 3 / 4..<tables { try touch(table) }
    #expect(storage.reads.count == tables)
    try touch(tables * 3 / 4 - 1)
    #expect(storage.reads.count == tables + 1)
  }

  @Test func aFailedReadIsTriedAgain() throws {
    let storage = FaultyStorage(MemoryStorage(words(100)))
    let pages = TablePages<UInt64>(in: storage, entriesPerTable: 100, .big)
    storage.fail(read: 1, with: .inputOutput)
    #expect(throws: DiskError.self) { try pages.entry(5, ofTableAt: .start) }
    #expect(try pages.entry(5, ofTableAt: .start) == 5)
  }
}
