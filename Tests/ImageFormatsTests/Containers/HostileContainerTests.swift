import Decoders
import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Compressed files that are cut off, damaged, or say what is not so.
@Suite(
  .serialized,
  .enabled(if: HostTools.has("gzip", "xz", "zstd", "bzip2", "lz4"), "a tool is missing"))
struct HostileContainerTests {
  /// What no tool makes smaller.
  static let noise = ImageBytes.pattern(4 << 20, seed: 1)
  static let tools = [
    "gzip -c", "xz -0c", "xz -0c --block-size=1MiB", "zstd -qc", "bzip2 -c", "lz4 -qc",
  ]

  /// What comes before the cut can be read; what comes behind it is an error, not zeros.
  @Test(arguments: tools)
  func truncated(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let content = Self.noise
      let fixture = try CompressedFixture(folder, content)
      try fixture.shell("\(tool) disk.img > whole && head -c 3000000 whole > cut")
      let image = try fixture.open("cut", exact: false)
      let bytes = try image.disk.whole.bytes(at: .start, count: 2 << 20)
      #expect(bytes == Array(content[..<(2 << 20)]))
      if image.disk.size > 7 << 19 {
        #expect(throws: DiskError.self) { try image.byte(at: 7 << 19) }
      } else {
        // Nothing says how large it was: what there is, and a note that says so.
        #expect(image.disk.size < 3_000_000)
        #expect(image.notes.contains { $0.contains("before damage") })
      }
      // Where the whole disk is wanted there is none.
      #expect(throws: DiskError.self) { try fixture.open("cut").content }
    }
  }

  /// One bad byte in the middle: an error that names the place; what is before is good, and what is
  /// behind the next entry point.
  @Test(arguments: tools)
  func flippedByte(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let content = Self.noise
      let fixture = try CompressedFixture(folder, content)
      try fixture.shell("\(tool) disk.img > whole")
      var bytes = try fixture.bytes("whole")
      let place = bytes.count / 2
      bytes[place] ^= 0x10
      try HostTools.write(bytes, to: fixture.path("bad"))
      let image = try fixture.open("bad", exact: false)
      let before = try image.disk.whole.bytes(at: .start, count: 1 << 20)
      #expect(before == Array(content[..<(1 << 20)]))
      let error = #expect(throws: DiskError.self) {
        // Nothing but its end says how long bzip2 is: it is shown up to the damage.
        _ = try (tool.hasPrefix("bzip2") ? fixture.open("bad") : image).content
      }
      #expect(error?.path == fixture.path("bad"))
      #expect(error?.kind == .malformed)
      #expect(error?.offset != nil)
      if tool.contains("--block-size") {
        let behind = try image.disk.whole.bytes(at: DiskOffset(3 << 20), count: 1 << 20)
        #expect(behind == Array(content[(3 << 20)...]))
      }
    }
  }

  /// Of three members the second one's checksum is wrong.
  @Test func wrongChecksum() throws {
    try HostTools.withFolder { folder in
      let content = Self.noise
      let fixture = try CompressedFixture(folder, content)
      try fixture.shell(
        "for i in 0 1 2; do tail -c +$((i * 1398101 + 1)) disk.img | head -c 1398101 | gzip -1 > m$i; done"
      )
      let (first, second, third) = (
        try fixture.bytes("m0"), try fixture.bytes("m1"), try fixture.bytes("m2")
      )
      var bytes = first + second + third
      let place = first.count + second.count - 8
      bytes[place] ^= 1
      try HostTools.write(bytes, to: fixture.path("bad"))
      let image = try fixture.open("bad", exact: false)
      let before = try image.disk.whole.bytes(at: .start, count: 2 << 20)
      #expect(before == Array(content[..<(2 << 20)]))
      let error = #expect(throws: DiskError.self) { try image.byte(at: 3 << 20) }
      #expect(error?.offset == UInt64(place))
      #expect(error?.message.contains("checksum") == true)
    }
  }

  @Test(arguments: ["gzip -c", "zstd -qc", "bzip2 -c", "lz4 -qc"])
  func trailingGarbage(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(
        folder, CompressedFixture.content(2 << 20, seed: 4))
      try fixture.shell("\(tool) disk.img > packed && head -c 1000 /dev/zero >> packed")
      let image = try fixture.open("packed")
      try fixture.check(image, seed: 4, reads: 5)
      #expect(image.containers[0].notes.contains { $0.hasPrefix("1000 bytes behind the") })
    }
  }

  /// A gzip file of several members says the size of the last one only.
  @Test func longerThanItSays() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, [UInt8](repeating: 7, count: 12 << 20))
      try fixture.shell(
        "(head -c 6291456 disk.img | gzip; tail -c +6291457 disk.img | gzip) > packed")
      let image = try fixture.open("packed", exact: false)
      #expect(image.disk.size == 6 << 20)
      #expect(try image.content == Array(fixture.content[..<(6 << 20)]))
      #expect(image.containers[0].notes.contains { $0.contains("is longer than") })
      #expect(!image.containers[0].isSizeExact)
      // Where a part must not be taken for the whole.
      try fixture.check(try fixture.open("packed"), seed: 1, reads: 3)
    }
  }

  /// The trailer says more than there is.
  @Test func shorterThanItSays() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, Self.noise)
      try fixture.shell("gzip -1c disk.img > packed")
      var bytes = try fixture.bytes("packed")
      bytes[bytes.count - 2] ^= 0x20
      try HostTools.write(bytes, to: fixture.path("bad"))
      let image = try fixture.open("bad", exact: false)
      #expect(image.disk.size > 5 << 20)
      let start = try image.disk.whole.bytes(at: .start, count: 3 << 20)
      #expect(start == Array(fixture.content[..<(3 << 20)]))
      #expect(throws: DiskError.self) { try image.byte(at: 4 << 20) }
    }
  }

  /// Windows of 2 GiB are refused with a sentence, before memory for them is asked for.
  @Test func hugeWindows() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(folder, [])
      // A frame of window 2 GiB (exponent 21, RFC 8878, section 3.1.1.1.2) and one raw block.
      let zstd: [UInt8] =
        [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1 | 4 << 3, 0, 0] + Array("data".utf8)
      try HostTools.write(zstd, to: fixture.path("window.zst"))
      var error = #expect(throws: DiskError.self) { try fixture.open("window.zst") }
      #expect(error?.message.contains("more memory") == true)
      // The dictionary's size is the last byte of the only filter: 38 is 2 GiB.
      try fixture.shell("head -c 100000 /dev/urandom | xz -0c > small.xz")
      var bytes = try fixture.bytes("small.xz")
      let header = 12..<12 + (Int(bytes[12]) + 1) * 4
      #expect(bytes[14] == 0x21)
      bytes[16] = 38
      let sum = CRC32.of(Array(bytes[header.dropLast(4)]))
      for index in 0..<4 { bytes[header.upperBound - 4 + index] = UInt8(sum >> (8 * index) & 0xff) }
      try HostTools.write(bytes, to: fixture.path("window.xz"))
      error = #expect(throws: DiskError.self) { try fixture.open("window.xz").content }
      #expect(error?.message.contains("more memory") == true)
    }
  }

  /// A kept index of another file, a damaged one, one that is no index: all as if they were not there.
  @Test func foreignIndexes() throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(
        folder, CompressedFixture.content(2 << 20, seed: 9))
      let other = CompressedFixture.content(2 << 20, seed: 10)
      try HostTools.write(other, to: fixture.path("other.img"))
      try fixture.shell("gzip -c disk.img > packed && gzip -c other.img > other")
      func index(_ name: String) throws -> String {
        let before = Set(
          (try? FileManager.default.contentsOfDirectory(atPath: folder + "/cache")) ?? [])
        _ = try fixture.open(name, keepsIndex: true).content
        let after = try FileManager.default.contentsOfDirectory(atPath: folder + "/cache")
        return folder + "/cache/" + (try #require(Set(after).subtracting(before).first))
      }
      let mine = try index("packed")
      let foreign = try index("other")
      let good = try Data(contentsOf: URL(fileURLWithPath: mine))
      var spoiled = try Data(contentsOf: URL(fileURLWithPath: foreign))
      for seed in 0..<UInt64(Soak.rounds(20)) {
        try spoiled.write(to: URL(fileURLWithPath: mine))
        let image = try fixture.open("packed", exact: false, keepsIndex: true)
        try fixture.check(image, seed: seed, reads: 1)
        var random = SeededRandom(seed: seed)
        spoiled = good
        switch seed % 3 {
        case 0: spoiled = spoiled.prefix(Int.random(in: 0..<spoiled.count, using: &random))
        case 1: spoiled[Int.random(in: 0..<spoiled.count, using: &random)] ^= 4
        default: spoiled += [0]
        }
      }
    }
  }

  @Test(arguments: tools)
  func rubbish(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let fixture = try CompressedFixture(
        folder, CompressedFixture.content(400_000, seed: 11))
      try fixture.shell("\(tool) disk.img > packed")
      let good = try fixture.bytes("packed")
      for seed in 0..<UInt64(Soak.rounds(25)) {
        var random = SeededRandom(seed: seed)
        var bytes = good
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          // Most of them where the headers, indexes and trailers are.
          let place =
            switch Int.random(in: 0..<3, using: &random) {
            case 0: Int.random(in: 6..<min(64, bytes.count), using: &random)
            case 1: bytes.count - Int.random(in: 1...min(64, bytes.count), using: &random)
            default: Int.random(in: 6..<bytes.count, using: &random)
            }
          bytes[place] = UInt8.random(in: 0...255, using: &random)
        }
        try HostTools.write(bytes, to: fixture.path("bad"))
        let clock = ContinuousClock()
        let start = clock.now
        for exact in [true, false] {
          guard let image = try? fixture.open("bad", exact: exact) else { continue }
          let size = min(image.disk.size, 2 << 20)
          _ = try? image.disk.whole.bytes(at: .start, count: Int(size))
          _ = try? image.byte(at: Int(image.disk.size) - 1)
        }
        #expect(start.duration(to: clock.now) < .seconds(30), "seed \(seed)")
      }
    }
  }
}
