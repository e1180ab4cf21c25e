import Decoders
import TestSupport
import Testing

/// Frames put together from RFC 8878, section 3.1.1.
@Suite struct ZstandardTests {
  private let zstandard = Zstandard()
  private static let magic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]
  /// A window of 1 KiB, and no size of the content.
  private static let plainHeader: [UInt8] = [0x00, 0x00]

  private enum Kind: Int { case raw, repeated, compressed, reserved }

  private func block(_ kind: Kind, _ size: Int, _ content: [UInt8], isLast: Bool = true) -> [UInt8]
  {
    let word = (isLast ? 1 : 0) | kind.rawValue << 1 | size << 3
    return [UInt8(word & 255), UInt8(word >> 8 & 255), UInt8(word >> 16)] + content
  }

  private func frame(_ blocks: [UInt8], header: [UInt8] = plainHeader) -> [UInt8] {
    Self.magic + header + blocks
  }

  private func raw(_ content: [UInt8], isLast: Bool = true) -> [UInt8] {
    block(.raw, content.count, content, isLast: isLast)
  }

  private func decompress(_ input: [UInt8], _ room: Int) throws -> [UInt8] {
    try decoded(input, room: room) { (input, output) throws(DecodingFailure) in
      try zstandard.decode(input, into: &output)
    }
  }

  @Test func rawAndRepeatedBlocks() throws {
    let content = ImageBytes.pattern(600, seed: 1)
    #expect(try decompress(frame(raw(content)), 600) == content)
    let two = raw(content, isLast: false) + block(.repeated, 1000, [7])
    #expect(try decompress(frame(two), 1600) == content + [UInt8](repeating: 7, count: 1000))
    // With the size of the content, in one segment: flag 0x20 and one byte of size.
    let sized = frame(raw(Array(content[..<200])), header: [0x20, 200])
    #expect(try decompress(sized, 200) == Array(content[..<200]))
  }

  @Test func lessThanThereIsRoomFor() throws {
    #expect(try decompress(frame(raw([1, 2, 3])), 65536) == [1, 2, 3])
    #expect(try decompress(frame(raw([])), 65536) == [])
    #expect(try decompress(frame(raw([])), 0) == [])
  }

  @Test func bytesBehindTheFrameAreNotLookedAt() throws {
    let content = ImageBytes.pattern(512, seed: 2)
    for garbage in [[0], Self.magic, ImageBytes.pattern(4095, seed: 3), frame(raw([9]))] {
      #expect(try decompress(frame(raw(content)) + garbage, 512) == content)
      #expect(try decompress(frame(raw(content)) + garbage, 4096) == content)
    }
  }

  @Test func moreThanThereIsRoomFor() {
    let content = ImageBytes.pattern(512, seed: 4)
    for room in [0, 1, 511] {
      #expect(throws: DecodingFailure.tooLong) { try decompress(frame(raw(content)), room) }
    }
    // 20,000 blocks of 1,024 bytes (no block is larger than the window) that are 4 bytes each.
    let bomb = (0..<20_000).flatMap { _ in block(.repeated, 1024, [0], isLast: false) }
    #expect(throws: DecodingFailure.tooLong) { try decompress(frame(bomb), 65536) }
  }

  @Test func truncated() {
    let whole = frame(raw([1, 2, 3, 4], isLast: false) + block(.repeated, 100, [7]))
    for count in 0..<whole.count {
      #expect(throws: DecodingFailure.damaged, "\(count) bytes of it") {
        try decompress(Array(whole.prefix(count)), 65536)
      }
    }
  }

  @Test func damaged() {
    for bad in [
      frame(block(.reserved, 3, [1, 2, 3])), [0x28, 0xB5, 0x2F, 0xFC, 0, 0] + raw([1]),
      // The reserved bit of the header; a content larger than it says; a block larger than the window.
      frame(raw([1]), header: [0x08, 0x00]), frame(raw([1, 2]), header: [0x20, 1]),
      frame(block(.repeated, 2000, [1])), frame(block(.compressed, 2, [0xFF, 0xFF])),
      // A dictionary that nobody has.
      frame(raw([1]), header: [0x21, 5, 1]),
    ] {
      #expect(throws: DecodingFailure.self, "\(bad)") { try decompress(bad, 65536) }
    }
  }

  /// A window of 2 GiB, and one of the largest there can be: neither is allocated.
  @Test(arguments: [0xA8, 0xFF] as [UInt8]) func hugeWindows(_ descriptor: UInt8) {
    let stream = frame(raw([1, 2, 3]), header: [0x00, descriptor])
    #expect(throws: DecodingFailure.damaged) { try decompress(stream, 65536) }
  }

  @Test func checksums() throws {
    // The low half of XXH64 of "a", which is D24EC4F1A98C6E5B.
    let sum: [UInt8] = [0x5B, 0x6E, 0x8C, 0xA9]
    let good = frame(raw([UInt8(ascii: "a")]), header: [0x24, 1]) + sum
    #expect(try decompress(good, 1) == [UInt8(ascii: "a")])
    for place in good.count - 5..<good.count {
      var bad = good
      bad[place] ^= 1
      #expect(throws: DecodingFailure.damaged) { try decompress(bad, 1) }
    }
  }

  @Test func afterAFailureTheNextIsWhole() throws {
    for _ in 0..<3 {
      #expect(throws: DecodingFailure.damaged) { try decompress([0xFF, 1, 2, 3, 4, 5], 10) }
      #expect(throws: DecodingFailure.tooLong) { try decompress(frame(raw([1, 2])), 1) }
      #expect(throws: DecodingFailure.damaged) {
        try decompress(frame(raw([1], isLast: false)), 10)
      }
      #expect(try decompress(frame(raw([1, 2])), 2) == [1, 2])
    }
  }

  @Test func manyThreads() {
    let contents = (0..<8).map { ImageBytes.pattern(1000 + $0, seed: UInt64($0)) }
    let frames = contents.map { frame(raw($0)) }
    let right = Threads.results(8) { thread in
      (0..<200).allSatisfy { round in
        let index = (thread + round) % 8
        return (try? decompress(frames[index], 2000)) == contents[index]
      }
    }
    #expect(right == [Bool](repeating: true, count: 8))
  }

  @Test func noise() {
    var random = SeededRandom(seed: 6)
    let whole = frame(
      raw(ImageBytes.pattern(100, seed: 7), isLast: false) + block(.repeated, 900, [7]))
    for _ in 0..<Soak.rounds(500) {
      var stream = whole
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        stream[Int.random(in: 0..<stream.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      let room = Int.random(in: 0...2000, using: &random)
      if let bytes = try? decompress(stream, room) { #expect(bytes.count <= room) }
    }
  }
}
