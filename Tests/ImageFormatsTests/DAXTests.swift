import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct DAXTests {
  private static func opened(_ builder: DAXBuilder) throws -> OpenedImage {
    try OpenedImage(MemoryStorage(builder.bytes, path: "x.dax"))
  }

  private static func builder(
    areas: [(frame: UInt32, count: UInt32)] = []
  ) -> DAXBuilder {
    DAXBuilder(content: ImageBytes.pattern(5 * 8192 + 2048, seed: 1), areas: areas)
  }

  @Test func withoutAreas() throws {
    let builder = Self.builder()
    let image = try Self.opened(builder)
    #expect(image.disk.size == 43_008 && image.disk.layers[0].tableBytes == 36)
    #expect(try image.all == builder.content)
    #expect(
      try image.bytes(8190, 4) == builder.frame(0).suffix(2) + builder.frame(1).prefix(2))
    let description = image.disk.layers[0].description
    #expect(description.format == "dax" && description.subformat == "v0" && image.notes.isEmpty)
  }

  /// Also the last frame, whose length is that of a whole one.
  @Test func areasOfFramesThatAreNotCompressed() throws {
    let builder = Self.builder(areas: [(1, 2), (5, 1)])
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    // Behind a header of 32 bytes, six frames of six bytes, two areas of eight, and a stream.
    let first = 32 + 36 + 16 + CloopBuilder.zlib(builder.frame(0)).count
    #expect(try image.map[1] == "8192+16384 \(first)")
    #expect(image.disk.layers[0].description.subformat == "v1")
    // Areas past the disc's end are of no frame.
    let far = Self.builder(areas: [(4, 1), (.max, .max)])
    #expect(try Self.opened(far).all == far.content)
  }

  /// In version 0 the number of areas is not one.
  @Test func version0HasNoAreas() throws {
    var builder = Self.builder()
    builder.edit = { $0.putLittle(UInt32.max, at: 12) }
    #expect(try Self.opened(builder).all == builder.content)
  }

  @Test func aFullLastFrame() throws {
    var builder = Self.builder()
    builder.streams[5] = CloopBuilder.zlib(builder.frame(5) + [UInt8](repeating: 1, count: 6144))
    #expect(try Self.opened(builder).all == builder.content)
  }

  // MARK: - Hostile images

  private func refusal(
    _ kind: DiskError.Kind, at offset: UInt64, _ edit: @escaping DAXBuilder.Edit
  ) throws {
    var builder = Self.builder(areas: [(1, 1)])
    builder.edit = edit
    let error = #expect(throws: DiskError.self) { try Self.opened(builder) }
    #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
  }

  @Test func hostileHeaders() throws {
    for version in [2, 255] as [UInt32] {
      try refusal(.unsupported, at: 8) { $0.putLittle(version, at: 8) }
    }
    try refusal(.malformed, at: 12) { $0.putLittle(193 as UInt32, at: 12) }
    try refusal(.malformed, at: 12) { $0.putLittle(UInt32.max, at: 12) }
    try refusal(.truncated, at: 32) { $0.putLittle(UInt32.max, at: 4) }
    let cut = Array(Self.builder(areas: [(1, 1)]).bytes.prefix(70))
    #expect(throws: DiskError.self) { try OpenedImage(MemoryStorage(cut, path: "x.dax")) }
  }

  /// Something other than zeros where it "must be zero", or a version of 2²⁴ and more, is none.
  @Test func otherFilesThatStartSo() throws {
    for place in [9, 11, 16, 31] {
      var bytes = Self.builder().bytes
      bytes[place] = 1
      let probe = FormatProbe(try ImageSample(of: MemoryStorage(bytes)))
      #expect(probe.fitting.isEmpty)
    }
  }

  /// Frame 1 is damaged, the others are not.
  private func damage(
    _ kind: DiskError.Kind, at offset: UInt64, _ edit: (inout DAXBuilder) -> Void
  ) throws {
    var builder = Self.builder()
    edit(&builder)
    let image = try Self.opened(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(8192 + 100, 1) }
    #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
    for frame in [0, 2, 5] {
      #expect(try image.bytes(8192 * frame, 2048) == Array(builder.frame(frame).prefix(2048)))
    }
  }

  @Test func hostileTables() throws {
    for offset in [0, 67] as [UInt32] {
      try damage(.malformed, at: 36) { $0.edit = { $0.putLittle(offset, at: 36) } }
    }
    for offset in [60_000, .max] as [UInt32] {
      try damage(.truncated, at: 36) { $0.edit = { $0.putLittle(offset, at: 36) } }
    }
    // A frame takes 8,203 bytes; header and tables take 68.
    let frame = UInt64(68 + 8203)
    for length in [0, 1, 8202] as [UInt16] {
      try damage(.malformed, at: frame) { $0.edit = { $0.putLittle(length, at: 32 + 24 + 2) } }
    }
    try damage(.truncated, at: 36) { $0.edit = { $0.putLittle(UInt16.max, at: 32 + 24 + 2) } }
  }

  @Test func hostileFrames() throws {
    for count in [0, 8191, 8193] {
      let content = ImageBytes.pattern(count, seed: 1)
      try damage(.malformed, at: 68 + 8203) { $0.streams[1] = CloopBuilder.zlib(content) }
    }
    try damage(.malformed, at: 68 + 8203) { $0.streams[1] = ImageBytes.pattern(100, seed: 1) }
  }
}

@Suite struct DAXFuzzTests {
  private static let iterations = Soak.rounds(700)

  @Test func overwritten() throws {
    let bytes = DAXBuilder(
      content: ImageBytes.pattern(3 * 8192, seed: 1), areas: [(1, 1)]
    ).bytes
    let fields = Array(4..<16) + Array(32..<58) + Array(58..<70)
    var random = SeededRandom(seed: 5)
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: DAXFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }
}
