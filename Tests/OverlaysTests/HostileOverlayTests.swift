import Digests
import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Files that are no overlays, or no longer.
struct HostileOverlayTests {
  private static func sample(isOpen: Bool) throws -> PagedBytes {
    let file = RecordingStorage(recording: false)
    let base = OverlayBase(
      name: "base.img", format: "raw",
      identity: [try FileIdentityRecord.of(MemoryStorage([1, 2, 3]), identifier: "x")])
    let overlay = try Overlay.create(in: file, size: 20 << 20, base: base, .small)
    let disk = try OverlaidDisk(overlay, [1, 2, 3]).disk
    try disk.put(ImageBytes.pattern(100_000, seed: 1), at: 1000)
    try disk.zero(at: DiskOffset(17 << 20), length: 30_000)
    if isOpen { try disk.flush() } else { try overlay.close() }
    return file.content
  }

  @Test(arguments: [
    (4, [0, 0, 0, 2] as [UInt8], "version 2"), (20, [0, 0, 0, 9], "clusters of 2^9"),
    (20, [0, 0, 0, 63], "clusters of 2^63"), (72, [0, 0, 0, 0, 0, 0, 0, 17], "check -r all"),
    (72, [0, 0, 0, 0, 0, 0, 0, 18], "corrupt"), (72, [0, 0, 0, 0, 0, 0, 0, 0], "subclusters"),
    (32, [0, 0, 0, 1], "encrypted"), (60, [0, 0, 0, 1], "snapshots"),
    (96, [0, 0, 0, 3], "16 bits"), (100, [0xff, 0xff, 0xff, 0xf8], "header of"),
    (24, [0x7f, 0, 0, 0, 0, 0, 0, 0], "a disk of"), (36, [0, 0, 0, 1], "L1 table of 1"),
    (36, [0xff, 0xff, 0xff, 0xff], "L1 table of"), (40, [0x7f, 0, 0, 0, 0, 0, 0, 0], "L1 table"),
    (48, [0, 0, 0, 0, 0, 0, 0, 1], "refcount table"),
    (56, [0xff, 0xff, 0xff, 0xff], "refcount table"),
    (8, [0xff, 0, 0, 0, 0, 0, 0, 0], "base's name"), (16, [0, 0, 4, 0], "base's name"),
    (116, [0xff, 0xff, 0xff, 0], "extension ends outside"), (128, [0, 0, 0, 9], "by Platter"),
    (136, [0, 0, 0, 2], "later Platter"), (140, [0xff, 0, 0, 0], "files of a base"),
    (160, [0, 0, 0, 56], "no place for them"), (184, [0, 0, 0, 8], "does not hold its parts"),
    (0xc000, [0x80, 0, 0, 0, 0, 0, 0x80, 0], "share a cluster"),
    (0x4000, [0, 0, 0, 0, 0, 0, 0, 1], "refcount block"), (0xc000, [0x80, 0x7f], "L2 table"),
    (0xc000, [0], "marked as shared"),
  ])
  func oneFieldIsWrong(_ at: Int, _ bytes: [UInt8], _ complaint: String) throws {
    for isOpen in [false, true] {
      var content = try Self.sample(isOpen: isOpen)
      content.write(bytes[...], at: UInt64(at))
      let file = RecordingStorage(content)
      let error = #expect(throws: DiskError.self) { try Overlay.open(file, .small) }
      #expect(error?.description.contains(complaint) == true, "\(String(describing: error))")
      #expect(file.changeCount == 0)
    }
  }

  @Test func countsThatAreTooLowAreNotTrusted() throws {
    var content = try Self.sample(isOpen: true)
    // The first cluster of data is the sixth of the file.
    content.write([0, 0], at: 0x8000 + 10)
    let error = #expect(throws: DiskError.self) {
      try Overlay.open(RecordingStorage(content, recording: false), .small)
    }
    #expect(error?.description.contains("counted as free") == true)
  }

  /// Mutated files are opened or refused, read or not, and never trap or hang.
  @Test func fuzzedFiles() throws {
    var random = SeededRandom(seed: 11)
    let samples = [try Self.sample(isOpen: false), try Self.sample(isOpen: true)]
    let places: [Range<UInt64>] = [0..<400, 0x4000..<0x4040, 0x8000..<0x8080, 0xc000..<0xc010]
    for _ in 0..<Soak.rounds(150) {
      var content = samples.randomElement(using: &random) ?? PagedBytes()
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        var place = places.randomElement(using: &random) ?? 0..<1
        if Bool.random(using: &random) { place = 0x10000..<min(content.size, 0x12000) }
        let value = [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)]
        let byte = value.randomElement(using: &random) ?? 0
        content.write([byte], at: UInt64.random(in: place, using: &random))
      }
      if Int.random(in: 0..<8, using: &random) == 0 {
        content.resize(to: UInt64.random(in: 0...content.size, using: &random))
      }
      let file = RecordingStorage(content, recording: false)
      do throws(DiskError) {
        let overlay = try Overlay.open(file, .small)
        guard let disk = try? OverlaidDisk(overlay, [1, 2, 3]).disk else { continue }
        for at in [UInt64(0), 50_000, 17 << 20] where at < disk.size {
          _ = try? disk.bytes(at: at, count: Int(min(60_000, disk.size - at)))
        }
        try? disk.put(ImageBytes.pattern(60_000, seed: 2), at: 40_000)
        try? disk.zero(at: .start, length: min(disk.size, 1 << 20))
        try disk.flush()
        try overlay.close()
      } catch {}
    }
  }

  /// The same for qcow2 files that are no overlays: standard entries, compressed clusters, counts above
  /// 1.
  @Test func fuzzedBases() throws {
    var random = SeededRandom(seed: 12)
    let sample = OverlayCommitPowerCutTests.Base.qcow2.content()
    let places: [Range<UInt64>] = [
      0..<128, 0x1000..<0x1010, 0x2000..<0x2040, 0x3000..<0x3010, 0x4000..<0x4280,
    ]
    for _ in 0..<Soak.rounds(200) {
      var content = sample
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = places.randomElement(using: &random) ?? 0..<1
        let value = [0, 1, 0x40, 0x7f, 0x80, 0xc0, 0xff, UInt8.random(in: 0...255, using: &random)]
        let byte = value.randomElement(using: &random) ?? 0
        content.write([byte], at: UInt64.random(in: place, using: &random))
      }
      if Int.random(in: 0..<8, using: &random) == 0 {
        content.resize(to: UInt64.random(in: 0...content.size, using: &random))
      }
      let file = RecordingStorage(content, recording: false)
      do throws(DiskError) {
        let overlay = try Overlay.open(file, .small, as: .base)
        guard let disk = try? OverlaidDisk(overlay, [1, 2, 3]).disk else { continue }
        for at in [UInt64(0), 50_000, 200_000] where at < disk.size {
          _ = try? disk.bytes(at: at, count: Int(min(60_000, disk.size - at)))
        }
        try? disk.put(ImageBytes.pattern(60_000, seed: 2), at: 70_000)
        try? disk.zero(at: .start, length: min(disk.size, 1 << 20))
        try disk.flush()
        try overlay.close()
      } catch {}
    }
  }

  /// Entries of a base that cannot be right are refused before anything is written.
  @Test(arguments: [
    // The first L2 table is at 0x4000; entry 20 is compressed, 0 is stored.
    (0x4000, [0x80, 0, 0, 0, 0, 0, 0x52] as [UInt8], "no multiple"),
    (0x4000, [0x80, 0, 0, 0, 0, 0, 0x20], "own tables"),
    (0x4000, [0x80, 0, 0, 0, 0x70], "past the end"), (0x4000, [0xa0], "reserved bits"),
    (0x4000, [0x80, 0, 0, 0, 0, 0, 0x60], "share a cluster"),
    (0x40a0, [0xc0], "reserved bits"), (0x40a0, [0x40, 0, 0, 0, 0, 0, 0x20], "own tables"),
    (0x40a0, [0x40, 0, 0, 0, 0x70], "past the end"),
    (0x40a0, [0x40, 0, 0, 0, 0, 0, 0x50], "share a cluster"),
    (0x2000 + 0xb * 2, [0, 1], "used 1 times, and not"),
  ])
  func oneEntryOfABaseIsWrong(_ at: Int, _ bytes: [UInt8], _ complaint: String) throws {
    var content = OverlayCommitPowerCutTests.Base.qcow2.content()
    content.write(bytes[...], at: UInt64(at))
    let file = RecordingStorage(content)
    let error = #expect(throws: DiskError.self) { try Overlay.open(file, .small, as: .base) }
    #expect(error?.description.contains(complaint) == true, "\(String(describing: error))")
    #expect(file.changeCount == 0)
  }

  /// A count that would be lowered, and an entry that does not say so then.
  @Test func aFlagThatWouldBeWrong() throws {
    var content = OverlayCommitPowerCutTests.Base.qcow2.content()
    // The first cluster of data is the sixth of the file.
    content.write([0, 2], at: 0x2000 + 10)
    let lowered = RecordingStorage(content, recording: false)
    _ = try Overlay.open(lowered, .small, as: .base)
    #expect(lowered.content.bytes(at: 0x2000 + 10, count: 2) == [0, 1])
    content.write([0], at: 0x4000)
    let file = RecordingStorage(content)
    let error = #expect(throws: DiskError.self) { try Overlay.open(file, .small, as: .base) }
    #expect(error?.description.contains("check -r all") == true)
    #expect(file.changeCount == 0)
  }

  /// Entries all over a file that claims to be huge take memory only where the file counts what they
  /// name: the first that is counted as free ends it.
  @Test func noMoreIsReadThanIsCounted() throws {
    let tables: UInt64 = 50
    let unit = OverlayTuning.small.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: unit * tables, base: nil, .small)
    let disk = try OverlaidDisk(overlay, []).disk
    for index in 0..<tables { try disk.put([1], at: index * unit) }
    try disk.flush()
    var content = file.content
    content.write([UInt8](repeating: 0, count: 16384)[...], at: 2 * 16384)
    let empty = RecordingStorage(content)
    let reads = Shared(0)
    empty.beforeRead { _, _ in reads.change { $0 += 1 } }
    let error = #expect(throws: DiskError.self) { _ = try Overlay.open(empty, .small) }
    #expect(error?.description.contains("counted as free") == true)
    #expect(reads.value < 20)
  }
}
