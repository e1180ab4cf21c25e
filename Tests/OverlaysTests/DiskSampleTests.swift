import DiskCore
import ImageFormats
import TestSupport
import Testing

@testable import Digests
@testable import Overlays

/// What is recorded of a base's disk before a commit into a qcow2 file.
struct DiskSampleTests {
  /// An overlay that holds `ranges` of a disk, and what is sampled of that.
  private func samples(
    _ size: Int, holding ranges: [Range<Int>]
  ) throws -> [FileIdentityRecord.Sample] {
    let content = ImageBytes.pattern(size, seed: 3)
    let base = RecordingStorage(PagedBytes(content), path: "base.img", recording: false)
    let record = try FileIdentityRecord.of(base)
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(
      in: file, size: UInt64(size),
      base: OverlayBase(name: "base.img", format: "raw", identity: [record]), .small)
    let disk = try OverlaidDisk(overlay, content).disk
    for range in ranges {
      try disk.put([UInt8](repeating: 1, count: range.count), at: UInt64(range.lowerBound))
    }
    try overlay.close()
    let found = try record.sampling(
      try Disk(layers: [FlatLayer(base)]), outside: try StoredOverlay(file))
    #expect(found.storedSize == record.storedSize)
    // It is what it was, and a change is found.
    #expect(try found.differences(from: try Disk(layers: [FlatLayer(base)])).isEmpty)
    if let first = found.samples.first {
      var other = content
      other[Int(first.offset)] ^= 1
      let differences = try found.differences(
        from: try Disk(layers: [FlatLayer(MemoryStorage(other))]))
      #expect(differences == [.content(offset: first.offset, length: first.length)])
    }
    return found.samples
  }

  @Test func evenlyWhereNothingIsHeld() throws {
    let found = try samples(1 << 20, holding: [0..<100_000, 500_000..<600_000])
    #expect(found.count == 10)
    for sample in found {
      let range = Int(sample.offset)..<Int(sample.offset) + Int(sample.length)
      // Held in whole subclusters of 512 bytes.
      #expect(!range.overlaps(0..<100_352) && !range.overlaps(499_712..<600_064))
    }
    #expect(found.first?.offset == 100_352)
    #expect(zip(found, found.dropFirst()).allSatisfy { $0.offset < $1.offset })
  }

  @Test func whereThereIsLittle() throws {
    #expect(try samples(40_960, holding: [0..<40_960]) == [])
    let found = try samples(40_960, holding: [0..<20_480, 22_528..<40_960])
    #expect(found.map(\.offset) == [20_480])
    #expect(found.map(\.length) == [2048])
    #expect(try samples(700, holding: []).map(\.length) == [700])
  }
}
