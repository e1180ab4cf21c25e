import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct CSOTests {
  private static func opened(_ builder: CSOBuilder) throws -> OpenedImage {
    try OpenedImage(MemoryStorage(builder.bytes, path: "x.cso"))
  }

  private static let letters = [UInt8](repeating: 0x41, count: 512)

  /// Four blocks of 512 bytes: pattern, 512 letters A as a compressor makes them, pattern, and 100 bytes.
  private static func small(_ magic: String, _ version: UInt8) -> CSOBuilder {
    var builder = CSOBuilder(
      magic, version: version, blockSize: 512,
      content: ImageBytes.pattern(512, seed: 1) + letters + ImageBytes.pattern(612, seed: 2))
    let isLZ4 = magic == "ZISO" || version == 2
    builder.codings = [
      0: .plain,
      1: .given(
        bytes: isLZ4 ? CompressedBytes.Of512A.lz4 : CompressedBytes.Of512A.deflate,
        marked: version == 2),
      2: .plain,
    ]
    return builder
  }

  @Test(arguments: [("CISO", 0, "v1"), ("CISO", 1, "v1"), ("CISO", 2, "v2"), ("ZISO", 1, "ZSO")])
  func byHand(_ magic: String, _ version: UInt8, _ subformat: String) throws {
    let builder = Self.small(magic, version)
    let image = try Self.opened(builder)
    #expect(image.disk.size == 1636 && image.disk.layers[0].tableBytes == 20)
    #expect(try image.all == builder.content)
    #expect(try image.bytes(500, 24) == builder.block(0).suffix(12) + Self.letters.prefix(12))
    // What is stored as it is is not decoded: 24 bytes of header, 20 of index.
    #expect(try image.map.first == "0+512 44")
    let description = image.disk.layers[0].description
    #expect(description.format == "cso" && description.subformat == subformat)
    #expect(image.notes.isEmpty)
  }

  /// In version 2 a deflated block is one that is shorter than a block and not marked.
  @Test func bothCodingsInVersion2() throws {
    var builder = Self.small("CISO", 2)
    builder.codings[1] = .given(bytes: CompressedBytes.Of512A.deflate, marked: false)
    builder.codings[3] = .given(bytes: CompressedBytes.lz4(builder.block(3)), marked: true)
    #expect(try Self.opened(builder).all == builder.content)
    // As long as a block or longer: plain, whatever its mark.
    for marked in [false, true] {
      builder.codings[0] = .given(bytes: builder.block(0), marked: marked)
      #expect(try Self.opened(builder).all == builder.content)
    }
  }

  @Test(arguments: ["CISO", "ZISO"], [512, 2048, 16_384, 262_144, 8 << 20])
  func blockSizes(_ magic: String, _ size: Int) throws {
    let count = size > 1 << 20 ? size + 5000 : 5 * size + 777
    var builder = CSOBuilder(
      magic, blockSize: UInt32(size), content: ImageBytes.pattern(count, seed: UInt64(size)))
    builder.codings = [1: .plain]
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    var random = SeededRandom(seed: UInt64(size))
    for _ in 0..<20 {
      let start = Int.random(in: 0...count, using: &random)
      let range = start..<min(count, start + Int.random(in: 0...9000, using: &random))
      #expect(try image.bytes(range.lowerBound, range.count) == Array(builder.content[range]))
    }
  }

  /// Blocks that start at multiples of 2 to 2,048 bytes, with zeros or noise between them, and the end
  /// of the last one rounded up or, as ciso.c writes it, down.
  @Test(arguments: ["CISO", "ZISO"], [1, 4, 11] as [UInt8])
  func shiftedIndex(_ magic: String, _ shift: UInt8) throws {
    for version in magic == "CISO" ? [1, 2] : [1] as [UInt8] {
      for (padding, padsEnd) in [(0, true), (0xA5, true), (0, false)] as [(UInt8, Bool)] {
        var builder = CSOBuilder(
          magic, version: version, blockSize: 2048,
          content: ImageBytes.pattern(3 * 2048 + 1000, seed: 9))
        builder.shift = shift
        builder.padding = padding
        builder.padsEnd = padsEnd
        if version == 2 {
          // Shorter than a block with its padding, or it would be taken for plain.
          let zeros = [UInt8](repeating: 0, count: 2048)
          builder.content = zeros + zeros + zeros + ImageBytes.pattern(1000, seed: 9)
          let short = CompressedBytes.deflate(zeros, zerosAfter: 0)
          builder.codings =
            shift == 11
            ? [0: .plain, 1: .plain, 2: .plain, 3: .plain]
            : [0: .given(bytes: short, marked: false), 1: .plain, 2: .plain]
          if shift == 11 { builder.content += [UInt8](repeating: 7, count: 1048) }
        } else {
          builder.codings = [1: .plain]
        }
        #expect(try Self.opened(builder).all == builder.content, "\(version) \(padding) \(padsEnd)")
      }
    }
  }

  /// The last block may be filled up.
  @Test(arguments: ["CISO", "ZISO"]) func aFullLastBlock(_ magic: String) throws {
    var builder = CSOBuilder(magic, blockSize: 512, content: ImageBytes.pattern(700, seed: 3))
    let full = builder.block(1) + [UInt8](repeating: 9, count: 324)
    for shift in [0, 3] as [UInt8] {
      builder.shift = shift
      for stored in [
        magic == "CISO" ? CompressedBytes.deflate(full) : CompressedBytes.lz4(full), full,
      ] {
        builder.codings[1] = .given(bytes: stored, marked: stored == full)
        #expect(try Self.opened(builder).all == builder.content)
      }
    }
  }

  /// An index of more than a page, whose blocks are all plain.
  @Test func aLongIndex() throws {
    let count = 40_000
    var builder = CSOBuilder(blockSize: 512, content: [])
    builder.editHeader = { $0.putLittle(UInt64(count * 512), at: 8) }
    let stream = CompressedBytes.Of512A.deflate
    let start = 24 + 4 * (count + 1)
    var index = ImageBytes(count: 4 * (count + 1))
    for number in 0...count {
      index.putLittle(UInt32(start + number * stream.count), at: 4 * number)
    }
    let bytes =
      Array(builder.bytes.prefix(24)) + index.bytes
      + [[UInt8]](repeating: stream, count: count).flatMap(\.self)
    let image = try OpenedImage(MemoryStorage(bytes, path: "x.cso"))
    #expect(image.storage.reads.reduce(0) { $0 + $1.count } < 8192)
    // Around the first page's end, at entry 16,384.
    #expect(try image.bytes(16_382 * 512, 4 * 512) == [UInt8](repeating: 0x41, count: 2048))
    #expect(try image.bytes(count * 512 - 1, 1) == [0x41])
  }

  // MARK: - The CSO row of shared/HOSTILE.md, and its like

  private func refusal(
    _ kind: DiskError.Kind, at offset: UInt64, _ edit: @escaping CSOBuilder.Edit
  ) throws {
    for magic in ["CISO", "ZISO"] {
      var builder = CSOBuilder(magic, blockSize: 512, content: ImageBytes.pattern(2048, seed: 1))
      builder.editHeader = edit
      let error = #expect(throws: DiskError.self) { try Self.opened(builder) }
      #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
    }
  }

  @Test func hostileHeaders() throws {
    for size in [0, 3, 511, 513, 2049, .max] as [UInt32] {
      try refusal(.malformed, at: 16) { $0.putLittle(size, at: 16) }
    }
    for size in [1, 256, 1 << 24, 1 << 31] as [UInt32] {
      try refusal(.unsupported, at: 16) { $0.putLittle(size, at: 16) }
    }
    for version in [3, 255] as [UInt8] {
      try refusal(.unsupported, at: 20) { $0.put([version], at: 20) }
    }
    for shift in [32, 255] as [UInt8] {
      try refusal(.malformed, at: 21) { $0.put([shift], at: 21) }
    }
    try refusal(.malformed, at: 8) { $0.putLittle(UInt64.max, at: 8) }
    try refusal(.malformed, at: 8) { $0.putLittle(Limits.largestDisk + 1, at: 8) }
    for size in [Limits.largestDisk, 1 << 40, 1 << 20] {
      try refusal(.truncated, at: 24) { $0.putLittle(size, at: 8) }
    }
  }

  @Test func aGameCubeImageIsNamed() throws {
    var builder = CSOBuilder(blockSize: 512, content: ImageBytes.pattern(2048, seed: 1))
    builder.editHeader = {
      $0.putLittle(2 << 20 as UInt32, at: 4)
      $0.put([UInt8](repeating: 1, count: 10) + [0, 0, 0, 1, 1, 0], at: 8)
    }
    let error = #expect(throws: DiskError.self) { try Self.opened(builder) }
    #expect(error?.kind == .unsupported && error?.message.contains("GameCube") == true)
  }

  @Test(arguments: [4, 23]) func filesThatEndInTheHeader(_ count: Int) throws {
    let bytes = Array(Self.small("CISO", 1).bytes.prefix(count))
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(MemoryStorage(bytes, path: "x.cso"))
    }
    #expect(error?.kind == .truncated)
  }

  /// Block 1 of four is damaged; those named can be read.
  private func damage(
    _ kind: DiskError.Kind, at offset: UInt64, _ readable: [Int], magic: String = "CISO",
    _ edit: (inout CSOBuilder) -> Void
  ) throws {
    var builder = CSOBuilder(magic, blockSize: 512, content: ImageBytes.pattern(2048, seed: 4))
    edit(&builder)
    let image = try Self.opened(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(512 + 100, 1) }
    #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
    #expect(error?.path == "x.cso")
    for index in readable {
      #expect(try image.bytes(512 * index, 512) == builder.block(index))
    }
  }

  @Test func hostileIndexes() throws {
    // Header and index take 44 bytes, a block 517; the entry of block 1 is at 28.
    func index(_ value: UInt32, at entry: Int) -> (inout CSOBuilder) -> Void {
      { $0.editIndex = { $0.putLittle(value, at: 4 * entry) } }
    }
    try damage(.malformed, at: 28, [0, 3], index(0, at: 2))
    try damage(.malformed, at: 28, [0, 3], index(44 + 517, at: 2))
    try damage(.malformed, at: 28, [0, 3], index(44 + 516, at: 2))
    try damage(.malformed, at: 28, [2, 3], index(43, at: 1))
    try damage(.malformed, at: 28, [2, 3], index(0, at: 1))
    try damage(.malformed, at: 28, [2, 3], index(.max, at: 1))
    try damage(.truncated, at: 28, [0, 3], index(.max, at: 2))
    try damage(.truncated, at: 28, [0, 3], index(44 + 4 * 517 + 1, at: 2))
    // Plain, and shorter than a block.
    try damage(.malformed, at: 28, [0, 2, 3]) { $0.codings[1] = .given(bytes: [1], marked: true) }
    for shift in [1, 31] as [UInt8] {
      var builder = CSOBuilder(blockSize: 512, content: ImageBytes.pattern(2048, seed: 4))
      builder.editHeader = { $0.put([shift], at: 21) }
      let image = try Self.opened(builder)
      for block in 0..<4 { _ = try? image.bytes(512 * block, 512) }
    }
  }

  /// Many entries that are the same: a walk takes a step for a page of them, and the blocks around them can
  /// be read.
  @Test(arguments: [0, 4] as [UInt8]) func manyEmptyBlocks(_ shift: UInt8) throws {
    var builder = CSOBuilder(blockSize: 512, content: ImageBytes.pattern(512 * 50_000, seed: 4))
    builder.shift = shift
    for number in 0..<50_000 where number != 0 && number != 49_998 && number != 49_999 {
      builder.codings[number] = .given(bytes: [], marked: false)
    }
    let image = try OpenedImage(
      MemoryStorage(builder.bytes, path: "x.cso"), mostRead: 1 << 20)
    #expect(try image.bytes(0, 512) == builder.block(0))
    #expect(try image.bytes(49_998 * 512, 1024) == builder.block(49_998) + builder.block(49_999))
    for number in [1, 2, 16_383, 49_997] {
      let error = #expect(throws: DiskError.self) { try image.bytes(512 * number, 1) }
      #expect(error?.kind == .malformed)
    }
    let layer = image.disk.layers[0]
    var place: UInt64 = 512
    var steps = 0
    while place < 49_998 * 512 {
      place += try layer.extent(at: DiskOffset(place), limit: 1 << 30).length
      steps += 1
    }
    #expect(place == 49_998 * 512 && steps < 10)
  }

  @Test func hostileBlocks() throws {
    let block = UInt64(44 + 517)
    for count in [0, 1, 511, 513] {
      let content = ImageBytes.pattern(count, seed: 1)
      try damage(.malformed, at: block, [0, 2, 3]) {
        $0.codings[1] = .given(bytes: CompressedBytes.deflate(content), marked: false)
      }
      // Literals take three bytes more than a deflated block of 512 does not.
      try damage(.malformed, at: 44 + 515, [0, 2, 3], magic: "ZISO") {
        $0.codings[1] = .given(bytes: CompressedBytes.lz4(content), marked: false)
      }
    }
    let bomb = CompressedBytes.deflate([UInt8](repeating: 0, count: 1 << 20), zerosAfter: 0)
    try damage(.malformed, at: block, [0, 2, 3]) {
      $0.codings[1] = .given(bytes: bomb, marked: false)
    }
    for stream in [[0], [0xFF], ImageBytes.pattern(600, seed: 2)] {
      try damage(.malformed, at: block, [0, 2, 3]) {
        $0.codings[1] = .given(bytes: stream, marked: false)
      }
      try damage(.malformed, at: 44 + 515, [0, 2, 3], magic: "ZISO") {
        $0.codings[1] = .given(bytes: stream, marked: false)
      }
    }
  }
}

@Suite struct CSOFuzzTests {
  private static let iterations = Soak.rounds(700)

  @Test(arguments: [("CISO", 1), ("CISO", 2), ("ZISO", 1)] as [(String, UInt8)])
  func overwritten(_ magic: String, _ version: UInt8) throws {
    var builder = CSOBuilder(
      magic, version: version, blockSize: 512, content: ImageBytes.pattern(3900, seed: 1))
    if version == 2 { builder.codings = [0: .plain, 1: .plain, 2: .plain, 3: .plain] }
    let bytes = builder.bytes
    // The header, the index, and the starts of some blocks.
    let fields = Array(4..<24 + 36) + Array(60..<72) + Array(60 + 517..<60 + 530)
    var random = SeededRandom(seed: 5)
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: CSOFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }
}
