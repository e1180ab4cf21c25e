import DiskCore
import TestSupport
import Testing

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
      OverlayBase(name: String(repeating: "n", count: 1024), format: "raw", identity: []),
      OverlayBase(name: "n", format: "raw", identity: Array(repeating: file, count: 300)),
    ] {
      #expect(throws: DiskError.self) { try create(base) }
    }
  }

  @Test func aFileThatIsNotEmptyIsNotOverwritten() {
    #expect(throws: DiskError.self) {
      try Overlay.create(
        in: RecordingStorage(PagedBytes([1]), recording: false), size: 512, base: nil)
    }
  }
}
