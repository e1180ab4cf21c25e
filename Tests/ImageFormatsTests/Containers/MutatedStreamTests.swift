import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// Streams with a few bytes changed, cut out, repeated or exchanged: where each part has a checksum, what is
/// read is right or an error, never something else; however many read at once and however little is kept.
@Suite(
  .serialized,
  .enabled(if: HostTools.has("xz", "zstd", "bzip2", "lz4", "gzip"), "a tool is missing"))
struct MutatedStreamTests {
  /// Each part smaller than a block, so that none is given before its checksum was looked at.
  static let lines = [
    "for i in 0 1 2 3 4 5; do tail -c +$((i * 200000 + 1)) disk.img | head -c 200000 | gzip -c; done",
    "xz -0c --block-size=200000 disk.img", "xz -0c --check=crc32 --block-size=150000 disk.img",
    "for i in 0 1 2 3 4 5; do tail -c +$((i * 200000 + 1)) disk.img | head -c 200000 | zstd -qc; done",
    "bzip2 -1c disk.img", "lz4 -qc -B4 -BX disk.img",
  ]

  @Test(arguments: lines)
  func theRightBytesOrAnError(_ line: String) throws {
    try HostTools.withFolder { folder in
      let content = CompressedFixture.content(1_200_000, seed: 51)
      let fixture = try CompressedFixture(folder, content)
      try fixture.shell("(\(line)) > packed")
      let good = try fixture.bytes("packed")
      for seed in 0..<UInt64(Soak.rounds(10)) {
        var random = SeededRandom(seed: seed)
        try HostTools.write(Self.mutated(good, &random), to: fixture.path("bad"))
        for exact in [true, false] {
          guard let image = try? fixture.open("bad", exact: exact),
            // What is shown of a stream that nothing says the size of, up to where damage was noticed.
            !image.notes.contains(where: { $0.contains("before damage") })
          else { continue }
          let size = min(Int(image.disk.size), content.count)
          for _ in 0..<6 {
            let start = Int.random(in: 0..<max(1, size), using: &random)
            let count = min(size - start, Int.random(in: 1...100_000, using: &random))
            guard
              let bytes = try? image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: count)
            else { continue }
            let isRight = bytes == Array(content[start..<start + count])
            #expect(isRight, "seed \(seed), \(count) bytes at \(start)")
          }
        }
      }
    }
  }

  private static func mutated(_ good: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    var bytes = good
    // Past the magic; no part of the file is exchanged with itself.
    let place = Int.random(in: 16..<bytes.count - 8, using: &random)
    let count = min(bytes.count - place, 1 << Int.random(in: 0...12, using: &random))
    switch Int.random(in: 0..<4, using: &random) {
    case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1: bytes.replaceSubrange(place..<place + count, with: [UInt8](repeating: 0, count: count))
    case 2:
      let from = Int.random(in: 0..<bytes.count - count, using: &random)
      bytes.replaceSubrange(place..<place + count, with: bytes[from..<from + count])
    default: bytes.replaceSubrange(place..<place + count, with: ImageBytes.pattern(count, seed: 3))
    }
    return bytes
  }

  /// Room for a block or two, four readers.
  @Test(arguments: ["gzip -c", "xz -0c", "zstd -qc", "bzip2 -c", "lz4 -qc"])
  func littleRoom(_ tool: String) throws {
    try HostTools.withFolder { folder in
      let content = CompressedFixture.content(3 << 20, seed: 52)
      let fixture = try CompressedFixture(folder, content)
      try fixture.shell("\(tool) disk.img > packed")
      for room in [0, 5 << 19] {
        var options = ImageOptions(cacheSize: room)
        options.indexFolder = nil
        let image = try OpenImage(path: fixture.path("packed"), options: options)
        guard image.disk.size == UInt64(content.count) else {
          Issue.record("\(image.disk.size) bytes")
          continue
        }
        let wrong = Threads.results(4) { thread in
          var random = SeededRandom(seed: UInt64(thread))
          var wrong = 0
          for round in 0..<6 {
            // Half of them at random, half one behind the other.
            let start =
              thread % 2 == 0
              ? Int.random(in: 0..<content.count - 200_000, using: &random) : round * 200_000
            let bytes = try? image.disk.whole.bytes(at: DiskOffset(UInt64(start)), count: 200_000)
            if bytes != Array(content[start..<start + 200_000]) { wrong += 1 }
          }
          return wrong
        }
        #expect(wrong.reduce(0, +) == 0, "\(room) bytes of room")
      }
    }
  }
}
