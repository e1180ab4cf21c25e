import DiskCore
import TestSupport
import Testing

@testable import Digests
@testable import Overlays

/// How a base is known again.
struct OverlayIdentityTests {
  @Test(arguments: [0, 1, 512, 16384, 20480, 20481, 100_000, 3_000_000])
  func aFileIsItself(_ size: Int) throws {
    let bytes = ImageBytes.pattern(size, seed: 3)
    let record = try FileIdentityRecord.of(MemoryStorage(bytes), identifier: "u")
    #expect(record.storedSize == UInt64(size))
    #expect(try record.differences(from: MemoryStorage(bytes), identifier: "u") == [])
    #expect(
      try record.differences(from: MemoryStorage(bytes), identifier: "v") == [
        .identifier(recorded: "u", found: "v")
      ])
    // Both ends and places between, none over another.
    var end: UInt64 = 0
    for sample in record.samples {
      #expect(sample.offset >= end)
      end = sample.offset + UInt64(sample.length)
    }
    #expect(end == UInt64(size))
    for sample in record.samples {
      var changed = bytes
      changed[Int(sample.offset) + Int(sample.length) / 2] ^= 1
      #expect(
        try record.differences(from: MemoryStorage(changed), identifier: "u") == [
          .content(offset: sample.offset, length: sample.length)
        ])
    }
    let longer = try record.differences(from: MemoryStorage(bytes + [1]), identifier: "u")
    #expect(longer.contains(.size(recorded: UInt64(size), found: UInt64(size) + 1)))
  }

  @Test func anotherTimeIsNotOtherContent() throws {
    let file = MemoryStorage([1, 2, 3])
    var record = try FileIdentityRecord.of(file)
    record.modified.seconds += 1
    let differences = try record.differences(from: file)
    #expect(differences == [.time])
    #expect(!differences.contains { $0.isOfContent })
  }

  @Test func largestFiles() {
    for size: UInt64 in [.max, 1 << 62, (1 << 62) - 1] {
      let places = FileIdentityRecord.places(size)
      #expect(places.count == 10)
    }
  }

  @Test func aBaseThatDoesNotFit() throws {
    func create(_ base: OverlayBase) throws {
      _ = try Overlay.create(in: RecordingStorage(recording: false), size: 512, base: base)
    }
    let file = try FileIdentityRecord.of(MemoryStorage([UInt8](repeating: 1, count: 1 << 20)))
    try create(
      OverlayBase(
        name: String(repeating: "n", count: 1023), format: "raw",
        identity: Array(repeating: file, count: 64)))
    for base in [
      OverlayBase(name: "", format: "raw", identity: []),
      OverlayBase(name: "n", format: "", identity: []),
      OverlayBase(name: "n", format: "platter-12345678", identity: []),
      OverlayBase(name: String(repeating: "n", count: 1024), format: "raw", identity: []),
      OverlayBase(name: "n", format: "raw", identity: Array(repeating: file, count: 130)),
    ] {
      #expect(throws: DiskError.self) { try create(base) }
    }
  }

  /// Tied to another base and cut off anywhere, an overlay has the old base or the new one.
  @Test func anotherBase() throws {
    let old = OverlayBase(
      name: "old.img", format: "raw",
      identity: [try FileIdentityRecord.of(MemoryStorage([1, 2]), identifier: "a")])
    let new = OverlayBase(
      name: "a/longer/name.vhd", format: "vpc",
      identity: try (0..<3).map { try FileIdentityRecord.of(MemoryStorage([3, UInt8($0)])) })
    let file = RecordingStorage()
    try Overlay.create(in: file, size: 1 << 20, base: old).close()
    let before = file.changeCount
    var random = SeededRandom(seed: 4)
    var cuts = PowerCuts(file.changes)
    for (number, base) in [new, old, new].enumerated() {
      try Overlay.relink(file, to: base)
      #expect(try Overlay.info(of: file).base == base)
      guard number == 0 else { continue }
      cuts = PowerCuts(file.changes)
      for count in before...file.changeCount {
        for index in 0..<40 {
          let left = cuts.content(after: count, PowerCuts.Loss.allCases[index % 5], &random)
          let found = try Overlay.info(of: RecordingStorage(left, recording: false)).base
          #expect(found == old || found == new)
          if count == file.changeCount { #expect(found == new) }
        }
      }
    }
    // Another number of words for the format: the header is written over.
    let longer = OverlayBase(name: "n", format: "platter-e01", identity: [])
    try Overlay.relink(file, to: longer)
    let info = try Overlay.info(of: file)
    #expect(info.base == longer)
    #expect(info.size == 1 << 20)
    let other = RecordingStorage(recording: false)
    try Overlay.create(in: other, size: 512, base: nil).close()
    #expect(throws: DiskError.self) { try Overlay.relink(other, to: old) }
  }

  @Test func aFileThatIsNotEmptyIsNotOverwritten() {
    #expect(throws: DiskError.self) {
      try Overlay.create(
        in: RecordingStorage(PagedBytes([1]), recording: false), size: 512, base: nil)
    }
  }
}
