import Decoders
import TestSupport
import Testing

@Suite struct DeflateTests {
  private let bare = Deflate(.none)
  private let zlib = Deflate(.zlib)

  /// A stored block (RFC 1951, section 3.2.4).
  private func stored(_ content: [UInt8], isLast: Bool = true) -> [UInt8] {
    let count = UInt16(content.count)
    return [
      isLast ? 1 : 0, UInt8(count & 255), UInt8(count >> 8), UInt8(~count & 255),
      UInt8(~count >> 8),
    ] + content
  }

  /// 'a', and `runs` times 258 more of it, with the fixed codes.
  private func manyOfA(runs: Int) -> [UInt8] {
    var bits = DeflateBits()
    bits.put(1, 1)
    bits.put(1, 2)
    bits.literal(UInt8(ascii: "a"))
    for _ in 0..<runs { bits.longestRunOfTheLastByte() }
    bits.endOfBlock()
    return bits.bytes
  }

  private func inflate(
    _ input: [UInt8], _ room: Int, by decoder: Deflate? = nil
  ) throws -> [UInt8] {
    let decoder = decoder ?? bare
    return try decoded(input, room: room) { (input, output) throws(DecodingFailure) in
      try decoder.decode(input, into: &output)
    }
  }

  @Test func storedBlocks() throws {
    let content = ImageBytes.pattern(1000, seed: 1)
    #expect(try inflate(stored(content), 1000) == content)
    #expect(
      try inflate(stored(Array(content[..<300]), isLast: false) + stored([]), 1000)
        == Array(content[..<300]))
    #expect(
      try inflate(
        stored(Array(content[..<300]), isLast: false) + stored(Array(content[300...])), 1000)
        == content)
  }

  @Test func fixedCodes() throws {
    #expect(manyOfA(runs: 0) == [0x4B, 0x04, 0x00])
    #expect(try inflate(manyOfA(runs: 0), 1) == [UInt8(ascii: "a")])
    #expect(
      try inflate(manyOfA(runs: 254), 65536)
        == [UInt8](repeating: UInt8(ascii: "a"), count: 1 + 254 * 258))
  }

  /// The caller sees how much there was, and decides whether that is enough.
  @Test func lessThanThereIsRoomFor() throws {
    #expect(try inflate(stored([1, 2, 3]), 65536) == [1, 2, 3])
    #expect(try inflate(stored([]), 65536) == [])
    #expect(try inflate(stored([]), 0) == [])
  }

  /// Blocks are padded to sectors with whatever was there.
  @Test func bytesBehindTheStreamAreNotLookedAt() throws {
    let content = ImageBytes.pattern(512, seed: 2)
    for garbage in [[0], [0xFF], ImageBytes.pattern(511, seed: 3)] {
      #expect(try inflate(stored(content) + garbage, 512) == content)
      #expect(
        try inflate([0x78, 0x9C] + manyOfA(runs: 0) + [0, 0x62, 0, 0x62] + garbage, 4, by: zlib)
          == [UInt8(ascii: "a")])
    }
  }

  @Test func moreThanThereIsRoomFor() {
    let content = ImageBytes.pattern(512, seed: 4)
    for room in [0, 1, 511] {
      #expect(throws: DecodingFailure.tooLong) { try inflate(stored(content), room) }
    }
    // A bomb is stopped where the room ends.
    #expect(throws: DecodingFailure.tooLong) { try inflate(manyOfA(runs: 100_000), 4096) }
  }

  @Test func truncated() {
    let whole = [stored(ImageBytes.pattern(100, seed: 5)), manyOfA(runs: 20)]
    for stream in whole {
      for count in 0..<stream.count {
        #expect(throws: DecodingFailure.damaged, "\(count) bytes of it") {
          try inflate(Array(stream.prefix(count)), 100_000)
        }
      }
    }
  }

  @Test func damaged() {
    var lengths = stored([1, 2, 3])
    lengths[3] ^= 1
    var distance = DeflateBits()
    distance.put(1, 1)
    distance.put(1, 2)
    // Nothing stands one byte before the first.
    distance.longestRunOfTheLastByte()
    distance.endOfBlock()
    for stream in [lengths, distance.bytes, [0b111], [0x06], [0xFF, 0xFF, 0xFF]] {
      #expect(throws: DecodingFailure.damaged, "\(stream)") { try inflate(stream, 65536) }
    }
  }

  @Test func zlibStreams() throws {
    // RFC 1950: deflate with a window of 32 KiB; Adler-32 of "a" is 0x00620062.
    let good: [UInt8] = [0x78, 0x9C, 0x4B, 0x04, 0x00, 0x00, 0x62, 0x00, 0x62]
    #expect(try inflate(good, 1, by: zlib) == [UInt8(ascii: "a")])
    for place in [0, 1, 5, 6, 7, 8] {
      var bad = good
      bad[place] ^= 1
      #expect(throws: DecodingFailure.damaged, "byte \(place)") { try inflate(bad, 1, by: zlib) }
    }
    for count in 0..<good.count {
      #expect(throws: DecodingFailure.damaged, "\(count) bytes") {
        try inflate(Array(good.prefix(count)), 1, by: zlib)
      }
    }
    #expect(throws: DecodingFailure.tooLong) { try inflate(good, 0, by: zlib) }
    // One is not the other.
    #expect(throws: DecodingFailure.damaged) { try inflate(stored([1]), 1, by: zlib) }
  }

  @Test func afterAFailureTheNextIsWhole() throws {
    for _ in 0..<3 {
      #expect(throws: DecodingFailure.damaged) { try inflate([0xFF], 10) }
      #expect(throws: DecodingFailure.tooLong) { try inflate(stored([1, 2]), 1) }
      #expect(try inflate(stored([1, 2]), 2) == [1, 2])
    }
  }

  @Test func manyThreads() {
    let contents = (0..<8).map { ImageBytes.pattern(20_000 + $0, seed: UInt64($0)) }
    let streams = contents.map { stored($0) }
    let right = Threads.results(8) { thread in
      (0..<200).allSatisfy { round in
        let index = (thread + round) % 8
        return (try? inflate(streams[index], 30_000)) == contents[index]
      }
    }
    #expect(right == [Bool](repeating: true, count: 8))
  }

  /// Whatever the bytes, the answer is bytes or a failure, and nothing behind the room is written.
  @Test func noise() {
    var random = SeededRandom(seed: 6)
    for _ in 0..<Soak.rounds(500) {
      var stream = Bool.random(using: &random) ? manyOfA(runs: 30) : stored([1, 2, 3, 4])
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        stream[Int.random(in: 0..<stream.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      let room = Int.random(in: 0...5000, using: &random)
      if let bytes = try? inflate(stream, room) { #expect(bytes.count <= room) }
    }
  }
}
