import Foundation
import Synchronization
import TestSupport
import Testing

@testable import DiskCore

/// Decoding before somebody asks.
@Suite struct ReadAheadTests {
  private static let mebibyte: UInt64 = 1 << 20

  @Test func twoReadsInARowAreAStream() {
    var streams = SequentialStreams(longestWindow: 8 << 20)
    #expect(streams.read(0..<131_072) == nil)
    // As far ahead as the first window.
    let next = streams.read(131_072..<262_144)
    #expect(next == 262_144..<524_288)
    // Not before half of that was read.
    #expect(streams.read(262_144..<262_244) == nil)
  }

  @Test func theWindowGrowsWithTheStreamAndEnds() {
    var streams = SequentialStreams(longestWindow: 4 << 20)
    var ahead: UInt64 = 0
    for number in 0..<UInt64(200) {
      let range = number * 131_072..<(number + 1) * 131_072
      guard let next = streams.read(range) else { continue }
      // Each byte is asked for once, and nothing that was read already.
      #expect(next.lowerBound == max(ahead, range.upperBound))
      #expect(next.upperBound - range.upperBound <= 4 << 20)
      ahead = next.upperBound
    }
    #expect(ahead > 200 * 131_072 + 2 << 20)
  }

  /// The kernel's own read-ahead comes on several threads.
  @Test func aLittleOutOfOrder() {
    var streams = SequentialStreams(longestWindow: 8 << 20)
    var ahead: UInt64 = 0
    for number: UInt64 in [0, 1, 3, 2, 4, 6, 5, 7, 9, 10, 8, 11] {
      let range = number * 131_072..<(number + 1) * 131_072
      if let next = streams.read(range) { ahead = max(ahead, next.upperBound) }
    }
    #expect(ahead > 12 * 131_072)
  }

  @Test func manyReadersAtOnce() {
    var streams = SequentialStreams(longestWindow: 1 << 20)
    var asked = [UInt64](repeating: 0, count: 8)
    for number in 0..<UInt64(32) {
      for reader in 0..<UInt64(8) {
        let at = reader << 30 + number * 65_536
        if let next = streams.read(at..<at + 65_536) { asked[Int(reader)] += UInt64(next.count) }
      }
    }
    #expect(asked.allSatisfy { $0 >= 31 * 65_536 })
  }

  @Test func randomReadersAreLeftAlone() {
    var streams = SequentialStreams(longestWindow: 8 << 20)
    var random = SeededRandom(seed: 1)
    var asked = 0
    for _ in 0..<100_000 {
      let at = UInt64.random(in: 0..<1 << 18, using: &random) * 4096
      if streams.read(at..<at + 4096) != nil { asked += 1 }
    }
    // By chance a page follows one of the last sixteen.
    #expect(asked < 40)
  }

  /// A disk of 64 blocks of 64 KiB.
  private func disk(_ cache: BlockCache) throws -> (Disk, ScrambledBlocks, [UInt8]) {
    let stored = ImageBytes.pattern(64 << 16, seed: 9)
    let blocks = ScrambledBlocks(MemoryStorage(stored), blockSize: 1 << 16)
    let runs = (0..<64).map {
      ScriptedLayer.Run(.encoded(blocks, index: UInt64($0), at: 0), 1 << 16)
    }
    return (try Disk(layers: [ScriptedLayer(runs)], blocks: cache), blocks, stored.map { ~$0 })
  }

  @Test func aSequentialReaderFindsWhatItNeeds() throws {
    let cache = BlockCache()
    let (disk, blocks, content) = try disk(cache)
    for number in 0..<32 {
      let at = number << 17
      #expect(
        try disk.whole.bytes(at: DiskOffset(UInt64(at)), count: 1 << 17)
          == Array(content[at..<at + 1 << 17]))
      // Time to get ahead.
      if number == 1 { Threads.wait { blocks.counts.count >= 8 } }
    }
    Threads.wait { blocks.counts.count == 64 }
    #expect(blocks.counts.values.allSatisfy { $0 == 1 })
    let figures = cache.figures
    #expect(figures.ahead >= 4 && figures.hits >= 4)
    #expect(figures.hits + figures.misses == 64 && figures.misses + figures.ahead == 64)
  }

  /// What comes ahead would push out what is being read.
  @Test func whereThereIsRoomForFewNothingComesAhead() throws {
    for room in [0, 1 << 16, 3 << 16] {
      let cache = BlockCache(capacity: room)
      let (disk, blocks, content) = try disk(cache)
      for at in stride(from: 0, to: content.count, by: 1 << 14) {
        let bytes = try disk.whole.bytes(at: DiskOffset(UInt64(at)), count: 1 << 14)
        #expect(bytes == Array(content[at..<at + 1 << 14]))
      }
      #expect(blocks.counts.values.allSatisfy { $0 == 1 } && blocks.counts.count == 64)
      #expect(cache.figures.ahead == 0)
    }
  }

  @Test func aRandomReaderDecodesNothingElse() throws {
    let cache = BlockCache()
    let (disk, blocks, _) = try disk(cache)
    for block in [40, 3, 60, 17, 5, 33] {
      _ = try disk.whole.bytes(at: DiskOffset(UInt64(block << 16 + 4096)), count: 4096)
    }
    #expect(blocks.counts == [40: 1, 3: 1, 60: 1, 17: 1, 5: 1, 33: 1])
    #expect(cache.figures.ahead == 0)
  }

  /// Nobody is told of damage that nobody asked for.
  @Test func damageAheadIsForWhoReadsIt() throws {
    let storage = FaultyStorage(MemoryStorage(ImageBytes.pattern(64 << 16, seed: 2)))
    storage.damage(10 << 16..<10 << 16 + 1)
    let blocks = ScrambledBlocks(storage, blockSize: 1 << 16)
    let runs = (0..<64).map {
      ScriptedLayer.Run(.encoded(blocks, index: UInt64($0), at: 0), 1 << 16)
    }
    let disk = try Disk(layers: [ScriptedLayer(runs)])
    for number in 0..<10 {
      _ = try disk.whole.bytes(at: DiskOffset(UInt64(number << 16)), count: 1 << 16)
    }
    Threads.wait { blocks.counts[10] != nil }
    for _ in 0..<2 {
      #expect(throws: DiskError.self) {
        try disk.whole.bytes(at: DiskOffset(10 << 16), count: 1 << 16)
      }
    }
    _ = try disk.whole.bytes(at: DiskOffset(11 << 16), count: 1 << 16)
  }

  /// What can only be decoded in order is: two threads are at two parts, never at one.
  @Test func eachPartIsDecodedInOrder() throws {
    let isAlone = sysconf(CInt(_SC_NPROCESSORS_ONLN)) < 2
    let blocks = BlocksInParts(of: 8, size: 1 << 12, waits: isAlone ? nil : 0)
    let cache = BlockCache()
    func block(_ index: UInt64) -> DecodingThreads.Block {
      DecodingThreads.Block(decoder: blocks, index: index, waiter: nil, cache: cache)
    }
    let threads = DecodingThreads()
    // Each part in two pieces, the second of which begins within the last block of the first.
    for parts in [0..<UInt64(2), 2..<6] {
      for part in parts { threads.add((8 * part..<8 * part + 4).map(block), in: part) }
      for part in parts { threads.add((8 * part + 3..<8 * part + 8).map(block), in: part) }
    }
    Threads.wait { blocks.seen.last.count == 6 && blocks.seen.last.allSatisfy { $1 % 8 == 7 } }
    let seen = blocks.seen
    #expect(seen.meetings == 0 && seen.steps == 0)
    #expect(seen.last == [0: 7, 1: 15, 2: 23, 3: 31, 4: 39, 5: 47])
    #expect(seen.mostAtOnce >= 2 || isAlone)
    #expect(seen.mostAtOnce <= blocks.partsAtOnce)
  }

  @Test func readsOfPartsAreRight() throws {
    let blocks = BlocksInParts(of: 8, size: 1 << 16)
    let runs = (0..<256).map {
      ScriptedLayer.Run(.encoded(blocks, index: UInt64($0), at: 0), 1 << 16)
    }
    let disk = try Disk(layers: [ScriptedLayer(runs)])
    // Not from block to block.
    for number in 0..<UInt64(127) {
      let bytes = try disk.whole.bytes(at: DiskOffset(number << 17 + 5000), count: 1 << 17)
      #expect(bytes.first == UInt8(2 * number) && bytes.last == UInt8(2 * number + 2))
    }
  }
}

/// Blocks that are full of their number, in parts whose blocks are decoded one after the other.
private final class BlocksInParts: BlockDecoder {
  struct Seen {
    /// Which parts are being decoded.
    var now: Set<UInt64> = []
    var mostAtOnce = 0
    /// How often two blocks of one part were decoded at once.
    var meetings = 0
    /// How often a block of a part came that was not the one behind the last.
    var steps = 0
    var last: [UInt64: UInt64] = [:]
  }

  let source: any Storage = MemoryStorage([0])
  private let count: UInt64
  private let size: Int
  /// The block whose decoding waits until another part's begins.
  private let waits: UInt64?
  private let state = Mutex(Seen())

  init(of count: UInt64, size: Int, waits: UInt64? = nil) {
    self.count = count
    self.size = size
    self.waits = waits
  }

  var seen: Seen { state.withLock { $0 } }
  var partsAtOnce: Int { 3 }
  func part(of index: UInt64) -> UInt64? { index / count }
  func decodedBytes(of index: UInt64) -> Int { size }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let part = index / count
    state.withLock { seen in
      if !seen.now.insert(part).inserted { seen.meetings += 1 }
      if seen.last[part, default: part * count &- 1] &+ 1 != index { seen.steps += 1 }
      seen.last[part] = index
      seen.mostAtOnce = max(seen.mostAtOnce, seen.now.count)
    }
    // Until a second thread is there, which the system may take its time to start.
    if index == waits { for _ in 0..<20_000 where seen.mostAtOnce < 2 { usleep(1000) } }
    buffer.withUnsafeMutableBytes { bytes in
      _ = bytes.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: index))
    }
    state.withLock { _ = $0.now.remove(part) }
  }
}
