import DiskCore
import ImageFormats
import TestSupport
import Testing

/// Streams with one byte wrong.
@Suite(
  .serialized,
  .enabled(if: HostTools.has("gzip", "xz", "zstd", "bzip2", "lz4"), "a tool is missing"))
struct StreamVerificationTests {
  /// What no tool makes smaller, so that a byte of the file is one of the content.
  static let noise = ImageBytes.pattern(3 << 20, seed: 1)
  /// How much each of three parts has that are compressed one by one.
  static let part = 1 << 20

  /// The three parts, each compressed by `tool`.
  static func parts(_ tool: String) -> String {
    "for i in 0 1 2; do tail -c +$((i * \(part) + 1)) disk.img | head -c \(part) | \(tool); done > x"
  }

  private func flipped(
    _ line: String
  ) throws -> (clean: VerificationReport, damaged: VerificationReport) {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, Self.noise)
      try fixture.shell(line)
      var bytes = try fixture.bytes("x")
      bytes[bytes.count / 2] ^= 4
      try HostTools.write(bytes, to: fixture.path("bad"))
      return (
        try VerifiedImage.report(path: fixture.path("x")),
        try VerifiedImage.report(path: fixture.path("bad"))
      )
    }
  }

  @Test(arguments: [
    ("gzip -1c", ["member CRC-32 1 0 0", "member length 1 0 0"]),
    (
      "xz -0c --block-size=1MiB --check=sha256",
      [
        "stream header CRC32 1 0 0", "index CRC32 1 0 0", "stream footer CRC32 1 0 0",
        "block header CRC32 3 0 0", "block SHA-256 3 0 0",
      ]
    ),
    ("zstd -qc", ["frame content XXH64 1 0 0"]),
    ("bzip2 -c", ["block CRC-32 4 0 0", "stream CRC-32 1 0 0"]),
    (
      "lz4 -qcB4 -BX",
      ["frame header checksum 1 0 0", "block checksum 48 0 0", "frame content checksum 1 0 0"]
    ),
  ])
  func clean(_ tool: String, _ counts: [String]) throws {
    let result = try flipped("\(tool) disk.img > x")
    #expect(result.clean.isClean)
    #expect(result.clean.counts == counts)
    #expect(!result.damaged.isClean)
    #expect(
      result.damaged.damage.allSatisfy {
        $0.fileOffset != nil && ($0.range ?? $0.streamRange) != nil
      })
  }

  /// The block that is wrong, and no other.
  @Test func oneBlockOfXZ() throws {
    let damaged = try flipped("xz -0c --block-size=1MiB disk.img > x").damaged
    #expect(damaged.damage.count == 1)
    let range = try #require(damaged.damage.first?.range)
    #expect(range.lowerBound >= 1 << 20 && range.upperBound == 2 << 20)
    #expect(damaged.counts.last?.hasPrefix("block CRC64 2 ") == true)
  }

  /// The second of three; the third is compared all the same.
  @Test(arguments: [
    ("gzip -1nc", "member CRC-32 2 1 0"), ("zstd -qc", "frame content XXH64 2 1 0"),
    ("lz4 -qc", "frame content checksum 2 1 0"),
  ])
  func oneMember(_ tool: String, _ count: String) throws {
    let damaged = try flipped(Self.parts(tool)).damaged
    #expect(damaged.counts.contains(count))
    #expect(damaged.places == ["checksum 1048576+1048576"])
  }

  /// A checksum itself is wrong, the last bytes of the file but what follows it.
  @Test(arguments: [
    ("gzip -1nc", 8, "member CRC-32"), ("zstd -qc", 4, "frame content XXH64"),
    ("lz4 -qc", 4, "frame content checksum"),
  ])
  func theChecksumItself(_ tool: String, _ back: Int, _ kind: String) throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, Self.noise)
      try fixture.shell("\(tool) disk.img > x")
      var bytes = try fixture.bytes("x")
      bytes[bytes.count - back] ^= 1
      try HostTools.write(bytes, to: fixture.path("x"))
      let report = try VerifiedImage.report(path: fixture.path("x"))
      #expect(report.places == ["checksum 0+3145728"])
      #expect(report.counts.contains("\(kind) 0 1 0"))
      #expect(report.damage[0].stream == String(tool.prefix { $0 != " " }))
    }
  }

  /// What the index says is wrong: all of the disk is read, and the index is named.
  @Test func theIndexOfXZ() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, Self.noise)
      try fixture.shell("xz -0c disk.img > x")
      var bytes = try fixture.bytes("x")
      bytes[bytes.count - 20] ^= 1
      try HostTools.write(bytes, to: fixture.path("x"))
      let report = try VerifiedImage.report(path: fixture.path("x"))
      #expect(report.damage.allSatisfy { $0.range == nil } && !report.isClean)
      #expect(report.damage.contains { $0.reason.contains("index") })
    }
  }

  /// Everything behind the end of what is there is one range.
  @Test(arguments: ["gzip -1c", "xz -0c", "zstd -qc", "lz4 -qcB4 -BX --content-size"])
  func cutOff(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, Self.noise)
      try fixture.shell("\(tool) disk.img > whole && head -c 2000000 whole > x")
      let report = try VerifiedImage.report(path: fixture.path("x"))
      #expect(!report.isClean)
      #expect(report.damage.allSatisfy { $0.kind == .unreadable || $0.range == nil })
    }
  }

  /// An image inside streams: each is checked, and a stream's damage is told in places of the disk.
  @Test func nested() throws {
    var builder = VHDBuilder(.fixed, size: 3 << 20)
    builder.blocks = [0: Array(Self.noise.prefix(2 << 20)), 1: Array(Self.noise.suffix(1 << 20))]
    let vhd = builder.file.bytes
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, vhd)
      try fixture.shell("xz -0c --block-size=1MiB disk.img | gzip -1c > x")
      let clean = try VerifiedImage.report(path: fixture.path("x"))
      #expect(clean.isClean)
      #expect(Set(clean.checks.map(\.of)) == ["gzip", "xz", "vhd"])
      try fixture.shell("xz -0c --block-size=1MiB disk.img > y")
      var bytes = try fixture.bytes("y")
      let place = bytes.count / 2
      bytes[place] ^= 4
      try HostTools.write(bytes, to: fixture.path("y"))
      let report = try VerifiedImage.report(path: fixture.path("y"))
      #expect(report.damage.count == 1)
      #expect(report.damage[0].range.map { $0.upperBound == 2 << 20 } == true)
      #expect(report.damage[0].stream == "xz" && report.damage[0].fileOffset != nil)
    }
  }
}
