import TestSupport
import Testing

@testable import DiskCore

private typealias Run = ScriptedLayer.Run

/// Compressed blocks, as the engine decodes and keeps them.
@Suite struct BlockCacheTests {
  private static let blockSize = 1024
  private let stored = ImageBytes.pattern(16 * blockSize, seed: 1)
  private var content: [UInt8] { stored.map { ~$0 } }

  private func blocks(_ storage: (any Storage)? = nil) -> ScrambledBlocks {
    ScrambledBlocks(storage ?? MemoryStorage(stored, path: "packed.img"), blockSize: 1024)
  }

  /// A disk of 16 blocks one behind the other.
  private func disk(
    _ blocks: ScrambledBlocks, cache: BlockCache = BlockCache()
  ) throws -> Disk {
    let runs = (0..<16).map {
      Run(.encoded(blocks, index: UInt64($0), at: 0), UInt64(Self.blockSize))
    }
    return try Disk(layers: [ScriptedLayer(runs)], blocks: cache)
  }

  @Test func readsAcrossBlocks() throws {
    let blocks = blocks()
    let disk = try disk(blocks)
    for (offset, count) in [(0, 16 * 1024), (1, 1), (1023, 2), (500, 3000), (16 * 1024 - 1, 1)] {
      #expect(
        try disk.whole.bytes(at: DiskOffset(UInt64(offset)), count: count)
          == Array(content[offset..<offset + count]))
    }
    // Whatever was read how often: each block was decoded once.
    #expect(blocks.counts.count == 16 && blocks.counts.values.allSatisfy { $0 == 1 })
  }

  @Test func partsOfBlocksInAnyOrder() throws {
    let blocks = blocks()
    let layer = ScriptedLayer([
      Run(.encoded(blocks, index: 3, at: 100), 50), Run(.zero, 10),
      Run(.encoded(blocks, index: 3, at: 0), 20), Run(.encoded(blocks, index: 1, at: 1000), 24),
    ])
    let block = { (index: Int, range: Range<Int>) in
      Array(content[index * 1024 + range.lowerBound..<index * 1024 + range.upperBound])
    }
    let expected =
      block(3, 100..<150) + [UInt8](repeating: 0, count: 10) + block(3, 0..<20)
      + block(1, 1000..<1024)
    #expect(try Disk(layers: [layer]).whole.bytes(at: .start, count: 104) == expected)
    #expect(blocks.counts == [3: 1, 1: 1])
  }

  /// Wherever in the blocks they read: once is not twice.
  @Test func randomReadersDoNotWashOutWhatIsUsed() throws {
    let stored = ImageBytes.pattern(400 * 1024, seed: 5)
    let blocks = blocks(MemoryStorage(stored))
    let runs = (0..<400).map { Run(.encoded(blocks, index: UInt64($0), at: 0), 1024) }
    let disk = try Disk(
      layers: [ScriptedLayer(runs)], blocks: BlockCache(capacity: 40 * Self.blockSize))
    func read(_ block: Int, _ at: Int) throws {
      _ = try disk.whole.bytes(at: DiskOffset(UInt64(block * 1024 + at)), count: 16)
    }
    for round in 0..<2 { for block in 0..<20 { try read(block, 100 + round * 300) } }
    // Not in order: nothing is decoded ahead.
    for step in 0..<380 { try read(20 + step * 7 % 380, 512) }
    for block in 0..<20 { try read(block, 700) }
    #expect((0..<20).allSatisfy { blocks.counts[$0] == 1 })
  }

  @Test func keepsWhatItHasRoomFor() throws {
    let blocks = blocks()
    let disk = try disk(
      blocks, cache: BlockCache(capacity: 4 * (Self.blockSize + DecodedBlock.overhead)))
    func touch(_ block: Int) throws {
      _ = try disk.whole.bytes(at: DiskOffset(UInt64(block * 1024)), count: 1)
    }
    for block in [0, 1, 2, 3, 0, 1, 2, 3] { try touch(block) }
    #expect(blocks.counts.values.allSatisfy { $0 == 1 })
    try touch(4)
    try touch(0)
    #expect(blocks.counts == [0: 2, 1: 1, 2: 1, 3: 1, 4: 1])
  }

  /// A disk and its older states have the cache in common, and blocks of different images never
  /// mix though their numbers are the same.
  @Test func oneCacheForManyDisks() throws {
    let cache = BlockCache()
    let (one, other) = (blocks(), ScrambledBlocks(MemoryStorage(content), blockSize: 1024))
    let disks = [try disk(one, cache: cache), try disk(one, cache: cache)]
    for disk in disks {
      #expect(try disk.whole.bytes(at: .start, count: 16 * 1024) == content)
    }
    #expect(one.counts.values.allSatisfy { $0 == 1 })
    #expect(try disk(other, cache: cache).whole.bytes(at: .start, count: 16 * 1024) == stored)
  }

  @Test func decodedOnceForManyThreads() throws {
    let storage = FaultyStorage(MemoryStorage(stored))
    let blocks = blocks(storage)
    let disk = try disk(blocks)
    let arrived = Shared(0)
    storage.beforeRead { _ in Threads.wait { arrived.value == 8 } }
    let right = Threads.results(8) { thread in
      arrived.change { $0 += 1 }
      let bytes = try? disk.whole.bytes(at: DiskOffset(UInt64(2048 + thread)), count: 100)
      return bytes == Array(content[2048 + thread..<2148 + thread])
    }
    #expect(right == [Bool](repeating: true, count: 8))
    #expect(blocks.counts == [2: 1])
  }

  @Test func aBadBlockFailsOnlyReadsThatTouchIt() throws {
    let storage = FaultyStorage(MemoryStorage(stored, path: "packed.img"))
    let disk = try disk(blocks(storage))
    storage.damage(2048..<2049)
    for (offset, count) in [(2047, 2), (2048, 1), (3071, 1), (0, 16 * 1024)] {
      let error = #expect(throws: DiskError.self) {
        try disk.whole.bytes(at: DiskOffset(UInt64(offset)), count: count)
      }
      #expect(error?.kind == .inputOutput && error?.path == "packed.img")
    }
    #expect(try disk.whole.bytes(at: .start, count: 2048) == Array(content[..<2048]))
    #expect(
      try disk.whole.bytes(at: DiskOffset(3072), count: 1024) == Array(content[3072..<4096]))
  }

  @Test func aTransientFailureIsForgotten() throws {
    let storage = FaultyStorage(MemoryStorage(stored))
    let disk = try disk(blocks(storage))
    for fault in FaultyStorage.Fault.allCases {
      storage.forgetReads()
      storage.fail(read: 1, with: fault)
      let block = fault == .short ? 5 : 9
      let read = { try disk.whole.bytes(at: DiskOffset(UInt64(block * 1024)), count: 1024) }
      #expect(throws: DiskError.self) { try read() }
      #expect(try read() == Array(content[block * 1024..<block * 1024 + 1024]))
    }
  }

  /// A block that turns out shorter than its extent is damage: neither zeros nor other people's memory.
  @Test func anExtentThatReachesPastItsBlock() throws {
    for (at, count) in [(1000, 25), (1024, 1), (5000, 100), (-1, 4)] {
      let layer = ScriptedLayer([Run(.encoded(blocks(), index: 0, at: at), UInt64(count))])
      #expect(throws: DiskError.self) {
        try Disk(layers: [layer]).whole.bytes(at: .start, count: count)
      }
    }
    let layer = ScriptedLayer([Run(.encoded(blocks(), index: 0, at: 1000), 24)])
    #expect(
      try Disk(layers: [layer]).whole.bytes(at: .start, count: 24) == Array(content[1000..<1024]))
  }

  @Test func compressedIsDataWithoutAPlace() throws {
    let blocks = blocks()
    let disk = try disk(blocks)
    let entry = try disk.whole.mapEntry(at: .start)
    guard case .compressed = entry.content else {
      Issue.record("\(entry.content)")
      return
    }
    #expect(entry.path == "packed.img" && entry.fileOffset == nil)
    #expect(try disk.whole.nextData(from: DiskOffset(5)) == DiskOffset(5))
    #expect(try disk.whole.nextHole(from: .start) == DiskOffset(16 * 1024))
    #expect(disk.whole.allocatedBytes() == 16 * 1024)
    // None of which decodes anything.
    #expect(blocks.counts.isEmpty)
  }
}
