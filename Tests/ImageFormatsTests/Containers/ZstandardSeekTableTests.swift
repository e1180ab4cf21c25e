import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The seekable format, which no program of Debian writes.
struct ZstandardSeekTableTests {
  private static let content = CompressedFixture.content(3_000_000, seed: 20)
  private static let frame = 400_000

  /// Frames of raw blocks and the table behind them.
  private static func file(
    checksums: Bool = false,
    _ change: (_ index: Int, _ stored: inout UInt32, _ size: inout UInt32) -> Void = { _, _, _ in }
  ) -> [UInt8] {
    var frames: [UInt8] = []
    var table = ImageBytes(count: 0)
    var count = 0
    for start in stride(from: 0, to: content.count, by: frame) {
      let piece = Array(content[start..<min(content.count, start + frame)])
      let packed = CompressedBytes.zstd(piece)
      frames += packed
      var (stored, size) = (UInt32(packed.count), UInt32(piece.count))
      change(count, &stored, &size)
      table.putLittle(stored, at: table.count)
      table.putLittle(size, at: table.count)
      if checksums { table.putLittle(UInt32(0), at: table.count) }
      count += 1
    }
    var end = ImageBytes(count: 0)
    end.putLittle(UInt32(0x184D_2A5E), at: 0)
    end.putLittle(UInt32(table.count + 9), at: 4)
    end.put(table.bytes, at: 8)
    end.putLittle(UInt32(count), at: end.count)
    end.put([checksums ? 0x80 : 0], at: end.count)
    end.putLittle(UInt32(0x8F92_EAB1), at: end.count)
    return frames + end.bytes
  }

  private func open(_ bytes: [UInt8], _ body: (CompressedFixture, OpenImage) throws -> Void) throws
  {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, Self.content)
      try HostTools.write(bytes, to: fixture.path("packed"))
      try body(fixture, try fixture.open("packed", exact: false))
    }
  }

  @Test(arguments: [false, true]) func isUsed(_ checksums: Bool) throws {
    try open(Self.file(checksums: checksums)) { fixture, image in
      #expect(image.facts("seek table") == ["yes"])
      #expect(image.facts("frames") == ["8"])
      // Frames are joined to segments of a MiB and more: three frames each.
      #expect(image.facts("entry points") == ["3"])
      #expect(image.facts("size exact") == ["yes"])
      try fixture.check(image, seed: 21)
    }
  }

  /// A table that does not fit the file is as if it were not there.
  @Test func thatDoesNotFitIsNotUsed() throws {
    try open(Self.file { index, stored, _ in if index == 3 { stored += 1 } }) { fixture, image in
      #expect(image.facts("seek table") == ["no"])
      try fixture.check(image, seed: 22, reads: 5)
    }
  }

  /// One that fits, but lies about what the frames hold: an error where it does, not other bytes.
  @Test func thatLies() throws {
    try open(
      Self.file { index, _, size in
        if index == 2 { size -= 10 }
        if index == 3 { size += 10 }
      }
    ) { _, image in
      // Blocks of a MiB: the first one is before the lie.
      let first = try image.byte(at: 1_000_000)
      #expect(first == Self.content[1_000_000])
      for place in [1_100_000, 1_199_995, 2_300_000] {
        let error = #expect(throws: DiskError.self) { try image.byte(at: place) }
        #expect(error?.kind == .malformed)
      }
    }
  }
}
