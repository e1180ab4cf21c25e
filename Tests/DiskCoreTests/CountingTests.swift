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
    let clock = ContinuousClock()
    let first = clock.measure { _ = disk.whole.allocatedBytes() }
    let rest = clock.measure {
      // What is left is the upper bound: below the size, so that holes are looked for.
      for _ in 0..<1000 { #expect(disk.whole.allocatedBytes() < disk.size) }
    }
    #expect(rest < first + .seconds(1))
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
