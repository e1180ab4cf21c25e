import Digests
import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// What stands in the file, byte for byte, and how it grows.
struct OverlayFileTests {
  private static let cluster = 131072

  @Test func aFreshOverlay() throws {
    let file = RecordingStorage(recording: false)
    let record = FileIdentityRecord(
      path: "/d/base.img", storedSize: 1000, modified: (5, 6), identifier: "id",
      samples: [.init(offset: 0, length: 1000, digest: [UInt8](repeating: 0xab, count: 32))])
    // Two L2 tables' worth and 100 bytes: three entries.
    let overlay = try Overlay.create(
      in: file, size: 2 << 30 | 100,
      base: OverlayBase(name: "base.img", format: "raw", identity: [record]))
    #expect(overlay.size == 2 << 30 | 100)
    var expected = ImageBytes(count: 4 * Self.cluster)
    expected.putBig(UInt32(0x5146_49fb), at: 0)
    expected.putBig(UInt32(3), at: 4)
    expected.putBig(UInt32(17), at: 20)
    expected.putBig(UInt64(2 << 30 | 512), at: 24)
    expected.putBig(UInt32(3), at: 36)
    expected.putBig(UInt64(0x60000), at: 40)
    expected.putBig(UInt64(0x20000), at: 48)
    expected.putBig(UInt32(1), at: 56)
    expected.putBig(UInt64(16), at: 72)
    expected.putBig(UInt32(4), at: 96)
    expected.putBig(UInt32(112), at: 100)
    // The backing format.
    expected.putBig(UInt32(0xe279_2aca), at: 112)
    expected.putBig(UInt32(3), at: 116)
    expected.put("raw", at: 120)
    // Platter's own, open: 48 bytes and two places of 8 KiB.
    expected.put("Plat", at: 128)
    expected.putBig(UInt32(48 + 16384), at: 132)
    expected.putBig(UInt32(1), at: 136)
    expected.putBig(UInt32(1), at: 140)
    expected.putBig(UInt64(1), at: 144)
    expected.putBig(UInt64(2 << 30 | 100), at: 152)
    expected.putBig(UInt32(48), at: 160)
    // The base's one file: 40 bytes, a sample of 48, 11 of path and 2 of identifier, padded.
    expected.putBig(UInt32(104), at: 184)
    expected.putBig(UInt16(11), at: 188)
    expected.putBig(UInt16(2), at: 190)
    expected.putBig(UInt64(1000), at: 192)
    expected.putBig(UInt64(5), at: 200)
    expected.putBig(UInt32(6), at: 208)
    expected.putBig(UInt32(1), at: 212)
    expected.putBig(UInt32(1000), at: 232)
    expected.put([UInt8](repeating: 0xab, count: 32), at: 240)
    expected.put("/d/base.imgid", at: 272)
    // The feature name table: one name.
    expected.putBig(UInt32(0x6803_f857), at: 16568)
    expected.putBig(UInt32(48), at: 16572)
    expected.put([0, 4], at: 16576)
    expected.put("extended L2 entries", at: 16578)
    // The end of the extensions at 16624, then the base's name.
    expected.putBig(UInt64(16632), at: 8)
    expected.putBig(UInt32(8), at: 16)
    expected.put("base.img", at: 16632)
    // The refcount table names one block, which counts the header, itself and the three tables.
    expected.putBig(UInt64(0x40000), at: Self.cluster)
    for index in 0..<4 { expected.putBig(UInt16(1), at: 2 * Self.cluster + 2 * index) }
    let bytes = file.content.all
    #expect(bytes.count == expected.count)
    #expect(bytes.indices.filter { bytes[$0] != expected.bytes[$0] } == [])

    try overlay.close()
    expected.putBig(UInt64(0), at: 144)
    #expect(file.content.all == expected.bytes)
    let info = try Overlay.info(of: file)
    #expect(info.size == 2 << 30 | 100)
    #expect(!info.isMarkedOpen)
    #expect(info.base == OverlayBase(name: "base.img", format: "raw", identity: [record]))
  }

  @Test func entriesByHand() throws {
    let file = RecordingStorage(recording: false)
    let base = BaseKind.raw.bytes(1 << 20)
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: BaseKind.raw.overlayBase)
    let disk = try OverlaidDisk(overlay, base).disk
    // The third cluster: subclusters 1 and 2 stored, 4 zero.
    let start = UInt64(2 * Self.cluster)
    try disk.put([UInt8](repeating: 7, count: 4097), at: start + 4096)
    try disk.zero(at: DiskOffset(start + 4 * 4096), length: 4096)
    try disk.flush()
    let content = file.content
    // The L2 table is the first new cluster, the data the second.
    #expect(content.bytes(at: 0x60000, count: 8) == [0x80, 0, 0, 0, 0, 0x08, 0, 0])
    #expect(
      content.bytes(at: 0x80000 + 32, count: 16) == [
        0x80, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 6,
      ])
    let data = content.bytes(at: 0xa0000, count: 4 * 4096)
    #expect(data[4096..<8193].allSatisfy { $0 == 7 })
    // Copied up with the last byte.
    #expect(Array(data[8193..<12288]) == Array(base[Int(start) + 8193..<Int(start) + 12288]))
    // 64 clusters are counted ahead.
    #expect(content.bytes(at: 0x40000 + 2 * 67, count: 4) == [0, 1, 0, 0])
    try overlay.close()
    #expect(file.size == 6 * UInt64(Self.cluster))
    #expect(file.content.bytes(at: 0x40000 + 2 * 5, count: 4) == [0, 1, 0, 0])
  }

  @Test func aFlushWithoutNewsWritesNothing() throws {
    let file = RecordingStorage()
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: nil)
    let disk = try OverlaidDisk(overlay, []).disk
    try disk.put([1], at: 0)
    try disk.flush()
    // In place: one write, one flush.
    let before = file.changeCount
    try disk.put([2], at: 5)
    try disk.flush()
    #expect(file.changeCount == before + 2)
  }

  @Test func extentsAreJoined() throws {
    let file = RecordingStorage(recording: false)
    let size: UInt64 = 5 << 30
    let overlay = try Overlay.create(in: file, size: size, base: BaseKind.raw.overlayBase)
    let disk = try OverlaidDisk(overlay, MemoryStorage(size: size, pieces: [])).disk
    let whole = try overlay.extent(at: DiskOffset(5), limit: size)
    #expect(whole.length == size - 5)
    guard case .below(DiskOffset(5)) = whole.place else {
      Issue.record("\(whole.place)")
      return
    }
    // One write over eight clusters has one place.
    try disk.put(ImageBytes.pattern(1 << 20, seed: 4), at: 1 << 20)
    let stored = try overlay.extent(at: DiskOffset(1 << 20), limit: 1 << 30)
    #expect(stored.length == 1 << 20)
    let before = try overlay.extent(at: DiskOffset(0), limit: 1 << 30)
    #expect(before.length == 1 << 20)
    try disk.zero(at: DiskOffset(1 << 20), length: 3 << 20)
    let zero = try overlay.extent(at: DiskOffset(1 << 20), limit: 1 << 30)
    #expect(zero.length == 3 << 20)
  }

  @Test func freedClustersAreUsedAgain() throws {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: 64 << 20, base: nil)
    let disk = try OverlaidDisk(overlay, []).disk
    for round in 0..<20 {
      let at = UInt64(round % 8) << 23
      try disk.put(ImageBytes.pattern(4 << 20, seed: UInt64(round)), at: at)
      try disk.flush()
      try disk.zero(at: DiskOffset(at), length: 4 << 20)
      try disk.flush()
    }
    // 80 MiB were written, never more than 4 at a time.
    #expect(file.size <= 24 << 20)
    try overlay.close()
    #expect(file.size == 5 * UInt64(Self.cluster))
  }

  /// A cluster that was given up while a read is still at it is not used again.
  @Test func spaceIsNotUsedAgainUnderARead() throws {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: nil)
    let place = try overlay.reserve(at: .start, length: 131072)
    try place.storage.write([UInt8](repeating: 1, count: 131072).span.bytes, at: place.at)
    overlay.publish(place)
    _ = try overlay.flush()
    guard case .stored(_, let at) = try overlay.extent(at: .start, limit: 1).place else {
      Issue.record("not stored")
      return
    }
    try overlay.discard(at: .start, length: 131072)
    // Not before it is durable, nor before the reads are done.
    for step in 0..<3 {
      let other = try overlay.reserve(at: DiskOffset(131072 * UInt64(step + 1)), length: 1)
      #expect(other.at != at)
      overlay.abandon(other)
      if step == 0 { overlay.reclaim(upTo: 1) }
      if step == 1 { #expect(try overlay.flush() == 2) }
    }
    overlay.reclaim(upTo: 2)
    #expect(overlay.state.withLock { $0.ready.runs.contains { $0.contains(at.bytes / 131072) } })
  }
}
