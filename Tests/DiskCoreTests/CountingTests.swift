import DiskCore
import TestSupport
import Testing

/// Counting allocated bytes for `stat` must not hold up a listing, however bad the image is.
@Suite struct CountingTests {
  /// A layer of 2²² blocks of 512 bytes, every second one stored.
  private final class Fragmented: ImageLayer {
    let storage = MemoryStorage(size: 1 << 31, pieces: [(at: 0, bytes: [1])])

    var size: UInt64 { 1 << 31 }
    var tableBytes: UInt64 { 16 << 20 }
    var files: [any Storage] { [storage] }
    var description: LayerDescription { LayerDescription(format: "fragmented") }

    func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
      let place = offset.bytes / 512 % 2 == 0 ? Extent.Place.zero : .unreadable(Self.damage)
      return Extent(place, length: 512 - offset.bytes % 512)
    }

    private static let damage = DiskError(.malformed, "damaged")
  }

  @Test func aThousandCountsCostNoMoreThanOne() throws {
    let disk = try Disk(layers: [Fragmented()])
    let clock = ThreadClock()
    let first = clock.measure { _ = disk.whole.allocatedBytes() }
    let rest = clock.measure {
      // What is left is the upper bound: below the size, so that holes are looked for.
      for _ in 0..<1000 { #expect(disk.whole.allocatedBytes() < disk.size) }
    }
    #expect(rest < first + .seconds(1))
  }

  /// What is counted is what a map shows, whatever is above what.
  @Test func countsWhatAMapShows() throws {
    var random = SeededRandom(seed: 11)
    for _ in 0..<200 {
      let storage = MemoryStorage(
        size: 1 << 20, pieces: [(at: 4096, bytes: [1]), (at: 70_000, bytes: [2])])
      let blocks = ScrambledBlocks(storage, blockSize: 1 << 16)
      let layers = (0..<Int.random(in: 1...5, using: &random)).map { _ in
        var place: UInt64 = 0
        var runs: [ScriptedLayer.Run] = []
        for _ in 0..<Int.random(in: 1...40, using: &random) {
          let length = UInt64.random(in: 1...5000, using: &random)
          let content: Extent.Place =
            switch Int.random(in: 0..<6, using: &random) {
            case 0: .zero
            case 1: .stored(storage, at: FileOffset(UInt64.random(in: 0..<500_000, using: &random)))
            case 2: .encoded(blocks, index: 1, at: 0)
            case 3: .unreadable(DiskError(.malformed, "damaged"))
            // Not always straight down: a driver may shift.
            default: .below(DiskOffset(place + UInt64.random(in: 0..<2, using: &random) * 700))
            }
          runs.append(ScriptedLayer.Run(content, length))
          place += length
        }
        return ScriptedLayer(runs)
      }
      let disk = try Disk(layers: layers)
      var shown: UInt64 = 0
      try disk.whole.forEachMapEntry { entry in
        switch entry.content {
        case .data, .compressed: shown += entry.length
        case .zero, .unreadable: break
        }
      }
      #expect(disk.whole.allocatedBytes() == shown)
    }
  }

  @Test func unreadableNeighboursAreOneEntry() throws {
    let layer = ScriptedLayer([
      .init(.unreadable(DiskError(.malformed, "first")), 512),
      .init(.unreadable(DiskError(.malformed, "second")), 512),
      .init(.zero, 3072),
    ])
    var lengths: [UInt64] = []
    try Disk(layers: [layer]).whole.forEachMapEntry { lengths.append($0.length) }
    #expect(lengths == [1024, 3072])
  }
}
