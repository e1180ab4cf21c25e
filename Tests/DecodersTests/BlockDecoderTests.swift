import Decoders
import TestSupport
import Testing

/// LZ4, bzip2 and xz, which libraries decode, and ADC, which this project does.
@Suite struct BlockDecoderTests {
  enum Codec: CaseIterable {
    case lz4, startOfLZ4, bzip2, xz, adc

    var of512A: [UInt8] {
      switch self {
      case .lz4, .startOfLZ4: CompressedBytes.Of512A.lz4
      case .bzip2: CompressedBytes.Of512A.bzip2
      case .xz: CompressedBytes.Of512A.xz
      case .adc: CompressedBytes.Of512A.adc
      }
    }

    func decode(_ input: [UInt8], _ room: Int) throws -> [UInt8] {
      try decoded(input, room: room) { (input, output) throws(DecodingFailure) in
        switch self {
        case .lz4: try LZ4Block.decode(input, into: &output)
        case .startOfLZ4: try LZ4Block.decode(startOf: input, into: &output)
        case .bzip2: try Bzip2.decode(input, into: &output)
        case .xz: try XZ.decode(input, into: &output)
        case .adc: try ADC.decode(input, into: &output)
        }
      }
    }
  }

  private static let letters = [UInt8](repeating: 0x41, count: 512)

  @Test(arguments: Codec.allCases) func whatCompressorsMake(_ codec: Codec) throws {
    #expect(try codec.decode(codec.of512A, 512) == Self.letters)
    #expect(try codec.decode(codec.of512A, 100_000) == Self.letters)
  }

  @Test(arguments: [Codec.bzip2, .xz]) func bytesBehindTheStreamAreNotLookedAt(
    _ codec: Codec
  ) throws {
    for garbage in [[0], ImageBytes.pattern(5000, seed: 3), codec.of512A] {
      #expect(try codec.decode(codec.of512A + garbage, 512) == Self.letters)
    }
  }

  @Test(arguments: Codec.allCases) func moreThanThereIsRoomFor(_ codec: Codec) throws {
    for room in [1, 511] {
      // These two stop where there is no more room, ADC between codes only.
      if codec == .startOfLZ4 || codec == .adc && room == 1 {
        #expect(try codec.decode(codec.of512A, room) == Array(Self.letters.prefix(room)))
        continue
      }
      let expected: DecodingFailure = codec == .lz4 ? .damaged : .tooLong
      #expect(throws: expected) { try codec.decode(codec.of512A, room) }
    }
  }

  @Test(arguments: Codec.allCases) func truncated(_ codec: Codec) {
    for count in 0..<codec.of512A.count {
      // LZ4 and ADC have no end: what is there is all there is, if it ends with a code.
      let given = try? codec.decode(Array(codec.of512A.prefix(count)), 512)
      #expect((given?.count ?? 0) < 512, "\(count) bytes of it")
      if codec == .bzip2 || codec == .xz { #expect(given == nil, "\(count) bytes of it") }
    }
  }

  /// Every bit of a bzip2 or xz stream counts, but for what is reserved or unused in bzip2.
  @Test func damagedXZ() {
    for place in CompressedBytes.Of512A.xz.indices {
      var stream = CompressedBytes.Of512A.xz
      stream[place] ^= 0x10
      #expect(throws: DecodingFailure.self) { try Codec.xz.decode(stream, 512) }
    }
  }

  @Test func damagedBzip2() {
    // The block's own sum, and the stream's.
    for place in [0, 3, 4, 10, 13, 40] {
      var stream = CompressedBytes.Of512A.bzip2
      stream[place] ^= 0x10
      #expect(throws: DecodingFailure.self, "\(place)") { try Codec.bzip2.decode(stream, 512) }
    }
  }

  /// A dictionary of 1.5 GiB: as xz's own decoder is told with --memlimit, it is refused.
  @Test func hugeDictionary() {
    let stream: [UInt8] = [
      0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00, 0x00, 0xFF, 0x12, 0xD9, 0x41, 0x02, 0x00, 0x21,
      0x01, 0x25, 0x00, 0x00, 0x00, 0x3B, 0x78, 0x7B, 0x41, 0xE0, 0x00, 0x0F, 0x00, 0x06, 0x5D,
      0x00, 0x20, 0xED, 0x3C, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x1A, 0x10, 0x94,
      0x5F, 0x1C, 0x8D, 0x06, 0x72, 0x9E, 0x7A, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x59, 0x5A,
    ]
    #expect(throws: DecodingFailure.damaged) { try Codec.xz.decode(stream, 16) }
  }

  // MARK: - ADC, code by code

  @Test func codesOfADC() throws {
    let adc = Codec.adc
    #expect(try adc.decode([], 10) == [])
    #expect(try adc.decode([0x80, 7], 10) == [7])
    #expect(try adc.decode([0x82, 1, 2, 3], 10) == [1, 2, 3])
    let most = ImageBytes.pattern(128, seed: 1)
    #expect(try adc.decode([0xFF] + most, 128) == most)
    // Two bytes: three to eighteen from up to 1,024 back.
    #expect(try adc.decode([0x82, 1, 2, 3, 0x00, 2], 10) == [1, 2, 3, 1, 2, 3])
    #expect(
      try adc.decode([0x81, 1, 2, 0x3C, 1], 30) == [1, 2] + (0..<18).map { UInt8(1 + $0 % 2) })
    // Three bytes: four to 67 from up to 65,536 back.
    #expect(try adc.decode([0x82, 1, 2, 3, 0x40, 0, 1], 10) == [1, 2, 3, 2, 3, 2, 3])
    #expect(
      try adc.decode([0x80, 9, 0x7F, 0, 0], 100) == [UInt8](repeating: 9, count: 68))
    let far = CompressedBytes.adc(ImageBytes.pattern(65_536, seed: 2))
    #expect(
      try adc.decode(far + [0x40, 0xFF, 0xFF], 65_540)
        == ImageBytes.pattern(65_536, seed: 2) + ImageBytes.pattern(4, seed: 2))
    #expect(
      try adc.decode(Array(far.prefix(129 * 8)) + [0x03, 0xFF], 1027)
        == ImageBytes.pattern(1024, seed: 2) + ImageBytes.pattern(3, seed: 2))
    // What is left over when there is no room is not looked at.
    #expect(try adc.decode([0x80, 7, 0x80], 1) == [7])
  }

  @Test(
    arguments: [
      [0x80], [0x81, 1], [0x80, 1, 0x00], [0x80, 1, 0x40, 0], [0x00, 0], [0x80, 1, 0x00, 1],
      [0x80, 1, 0x40, 0, 1], [0x80, 1, 0x7F, 0xFF, 0xFF],
    ] as [[UInt8]]) func damagedADC(_ stream: [UInt8])
  {
    #expect(throws: DecodingFailure.damaged) { try Codec.adc.decode(stream, 200) }
  }

  @Test(arguments: Codec.allCases) func noise(_ codec: Codec) {
    var random = SeededRandom(seed: 6)
    for _ in 0..<Soak.rounds(300) {
      var stream = codec.of512A
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        stream[Int.random(in: 0..<stream.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      let room = Int.random(in: 0...2000, using: &random)
      if let bytes = try? codec.decode(stream, room) { #expect(bytes.count <= room) }
    }
  }
}
