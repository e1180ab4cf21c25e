import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The DMG row of shared/HOSTILE.md, and its like. `OpenedImage` checks the second, the little that is
/// read and the line.
@Suite struct HostileDMGTests {
  typealias Chunk = DMGBuilder.Chunk

  private static func opened(_ builder: DMGBuilder) throws -> OpenedImage {
    try DMGTests.opened(builder)
  }

  private static var plain: DMGBuilder {
    DMGBuilder(chunks: [.raw(DMGTests.pattern(4, 1)), .zlib(DMGTests.pattern(4, 2))])
  }

  private func refusal(
    _ kind: DiskError.Kind, _ word: String, _ builder: DMGBuilder,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: DiskError.self, sourceLocation: sourceLocation) {
      try Self.opened(builder)
    }
    #expect(
      error?.kind == kind && error?.message.contains(word) == true,
      "\(String(describing: error))", sourceLocation: sourceLocation)
    #expect(error?.offset != nil, sourceLocation: sourceLocation)
  }

  @Test func trailers() {
    func trailer(
      _ kind: DiskError.Kind, _ word: String, _ edit: @escaping DMGBuilder.Edit,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      var builder = Self.plain
      builder.editTrailer = edit
      refusal(kind, word, builder, sourceLocation: sourceLocation)
    }
    for version in [0, 3, 5, .max] as [UInt32] {
      trailer(.unsupported, "version") { $0.putBig(version, at: 4) }
    }
    trailer(.unsupported, "segment 1 of 3") { $0.putBig(3 as UInt32, at: 60) }
    for (start, name) in [(24, "data fork"), (40, "resource fork"), (216, "property list")] {
      for (offset, count) in [
        (0, .max), (.max, 1), (.max, .max), (1 << 40, 512), (0, 1 << 40),
      ] as [(UInt64, UInt64)] {
        trailer(.truncated, name) {
          $0.putBig(offset, at: start)
          $0.putBig(count, at: start + 8)
        }
      }
    }
    for count in [1 << 55, .max] as [UInt64] {
      trailer(.malformed, "sectors") { $0.putBig(count, at: 492) }
    }
  }

  @Test func propertyLists() {
    func list(
      _ kind: DiskError.Kind, _ word: String, _ text: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      var builder = Self.plain
      builder.propertyList = Array(text.utf8)
      refusal(kind, word, builder, sourceLocation: sourceLocation)
    }
    func entry(_ data: String) -> String {
      "<plist><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key>"
        + "<data>\(data)</data></dict></array></dict></dict></plist>"
    }
    list(.malformed, "no property list", "<a/>")
    list(.malformed, "no property list", "<plist/>")
    list(.malformed, "no block tables", "<plist><dict/></plist>")
    list(.malformed, "no block tables", "<plist><dict><key>resource-fork</key></dict></plist>")
    list(.malformed, "no block tables", entry("").replacing("blkx", with: "plst"))
    list(.malformed, "Base64", entry("").replacing("Data", with: "Date"))
    for bad in ["*", "bWlz=aA", "bWlza\u{e9}"] { list(.malformed, "Base64", entry(bad)) }
    list(.malformed, "mish", entry("AAAAAAAA"))
    list(.malformed, "mish", entry(""))
    list(.truncated, "structure", entry("bWlzaAAAAAEA"))
    list(.malformed, "XML", "x")
    // 10⁵ elements inside each other.
    list(.malformed, "inside each other", String(repeating: "<a>", count: 100_000))
    list(.unsupported, "declaration", "<!DOCTYPE a [<!ENTITY b 'c'>]><plist>&b;</plist>")
  }

  /// A property list or a fork of 1 GiB is not read.
  @Test func hugeForks() throws {
    for (field, name) in [(216, "property list"), (40, "resource fork")] {
      var trailer = ImageBytes(Array(Self.plain.bytes.suffix(512)))
      trailer.put([UInt8](repeating: 0, count: 16), at: 216)
      trailer.putBig(0 as UInt64, at: field)
      trailer.putBig(1 << 30 as UInt64, at: field + 8)
      let storage = MemoryStorage(
        size: 1 << 30 + 512, pieces: [(0, Array("<plist>".utf8)), (1 << 30, trailer.bytes)],
        path: "x.dmg")
      let error = #expect(throws: DiskError.self) { try OpenedImage(storage) }
      #expect(error?.kind == .unsupported && error?.message.contains(name) == true)
    }
  }

  @Test func resourceForks() throws {
    // Every byte of the fork's head and map is wrong in turn: an error, or tables all the same.
    var builder = Self.plain
    builder.fork = .resourceFork
    let good = builder.bytes
    let reader = ByteReader(good)
    let start = Int(try reader.u64(at: good.count - 512 + 40, .big))
    let map = start + Int(try reader.u32(at: start + 4, .big))
    for place in Array(start..<start + 16) + Array(map..<good.count - 512) {
      for value in [0, 1, 0x7F, 0xFF] as [UInt8] {
        var bytes = good
        bytes[place] = value
        _ = try? OpenedImage(MemoryStorage(bytes, path: "x.dmg"))
      }
    }
    // 4,096 types with the same 65,536 references to one resource of no bytes.
    var fork = ImageBytes(count: 256)
    fork.putBig(16 as UInt32, at: 0)
    fork.putBig(32 as UInt32, at: 4)
    fork.putBig(28 as UInt16, at: 32 + 24)
    fork.putBig(4095 as UInt16, at: 60)
    fork.grow(to: 60 + 40_000 + 12 * 65_536)
    for type in 0..<4096 {
      fork.put(Array("blkx".utf8) + [0xFF, 0xFF], at: 62 + 8 * type)
      fork.putBig(40_000 as UInt16, at: 62 + 8 * type + 6)
    }
    var trailer = ImageBytes(Array(good.suffix(512)))
    trailer.putBig(0 as UInt64, at: 40)
    trailer.putBig(UInt64(fork.count), at: 48)
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(
        MemoryStorage(fork.bytes + trailer.bytes, path: "x.dmg"), mostRead: 2 << 20)
    }
    #expect(error?.kind == .malformed)
  }

  @Test func blockTables() {
    func table(
      _ kind: DiskError.Kind, _ word: String, _ edit: @escaping DMGBuilder.Edit,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      var builder = Self.plain
      builder.tables[0].edit = edit
      refusal(kind, word, builder, sourceLocation: sourceLocation)
    }
    table(.malformed, "mish") { $0.put("mesh", at: 0) }
    // 2³¹ chunks, and one more than there are.
    for count in [1 << 31, .max, 4] as [UInt32] {
      table(.malformed, "no room") { $0.putBig(count, at: 200) }
    }
    // Its first sector and its count, and those of a chunk.
    for place in [8, 16, 204 + 8, 204 + 16] {
      for value in [1 << 55, 1 << 63, .max] as [UInt64] {
        table(.malformed, "sectors") { $0.putBig(value, at: place) }
      }
    }
    table(.malformed, "past any file's end") {
      $0.putBig(UInt64.max, at: 24)
      $0.putBig(1 as UInt64, at: 204 + 24)
    }
    // Two chunks of one sector.
    table(.malformed, "two chunks") { $0.putBig(3 as UInt64, at: 204 + 40 + 8) }
    table(.malformed, "two chunks") { $0.putBig(5 as UInt64, at: 204 + 16) }
  }

  /// Of a disk of three raw chunks the second is replaced; the others can be read.
  private func damage(
    _ kind: DiskError.Kind, _ word: String, _ chunk: Chunk, at offset: UInt64 = 512,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let (first, last) = (DMGTests.pattern(1, 1), DMGTests.pattern(1, 2))
    let image = try Self.opened(DMGBuilder(chunks: [.raw(first), chunk, .raw(last)]))
    let end = Int(image.disk.size) - 512
    let error = #expect(throws: DiskError.self, sourceLocation: sourceLocation) {
      try image.bytes(end - 1, 1)
    }
    #expect(
      error?.kind == kind && error?.offset == offset && error?.message.contains(word) == true,
      "\(String(describing: error))", sourceLocation: sourceLocation)
    #expect(try image.bytes(0, 512) == first, sourceLocation: sourceLocation)
    #expect(try image.bytes(end, 512) == last, sourceLocation: sourceLocation)
  }

  @Test func chunks() throws {
    let two = DMGTests.pattern(2, 3)
    // Compressed chunks that are none, hold too little and too much.
    for (type, stream) in [
      (0x8000_0004, CompressedBytes.adc), (0x8000_0005, CloopBuilder.zlib),
    ] as [(UInt32, @Sendable ([UInt8]) -> [UInt8])] {
      // ADC stops when it has all, if that is between two codes.
      let tooLong = type == 0x8000_0004 ? [] : [two + [1]]
      for content in [Array(two.prefix(1023)), []] + tooLong {
        try damage(.malformed, "holds", Chunk(type, sectors: 2, stored: stream(content)))
      }
    }
    for (type, stream) in [
      (0x8000_0006, CompressedBytes.Of512A.bzip2), (0x8000_0008, CompressedBytes.Of512A.xz),
    ] as [(UInt32, [UInt8])] {
      try damage(.malformed, "holds 512", Chunk(type, sectors: 2, stored: stream))
    }
    for type in [4, 5, 6, 8] as [UInt32] {
      for stream in [[], [0xFF], ImageBytes.pattern(500, seed: 4)] {
        try damage(
          .malformed, "chunk", Chunk(0x8000_0000 | type, sectors: 2, stored: stream))
      }
      // Larger than what is decoded as one.
      try damage(
        .unsupported, "16777728", Chunk(0x8000_0000 | type, sectors: 32_769, stored: [1]))
    }
    // A bomb.
    let zeros = CompressedBytes.deflate([UInt8](repeating: 0, count: 1 << 20), zerosAfter: 0)
    try damage(
      .malformed, "more than 1024",
      Chunk(0x8000_0005, sectors: 2, stored: [0x78, 0xDA] + zeros + [0, 0, 0, 0]))
  }

  @Test func placesOfChunks() throws {
    for type in [1, 0x8000_0005] as [UInt32] {
      for (offset, length) in [
        (1 << 40, 1024), (.max, 1024), (0, 1 << 40), (0, .max), (.max, .max),
      ] as [(UInt64, UInt64)] {
        var chunk = Chunk(type, sectors: 2)
        chunk.offset = offset
        chunk.length = length
        guard type != 1 || offset != 0 else { continue }
        let isLong = length > UInt64(Limits.largestMetadataRead) && type != 1
        try damage(isLong ? .malformed : .truncated, "chunk", chunk, at: offset)
      }
    }
  }

  /// A raw chunk shorter than its sectors: what is there, and then not zeros.
  @Test func aShortRawChunk() throws {
    let half = DMGTests.pattern(1, 5)
    for length in [512, 513, 0] as [UInt64] {
      var chunk = Chunk(1, sectors: 2, stored: half)
      chunk.length = length
      try damage(
        .malformed, "a raw chunk holds \(length) bytes in place of 1024", chunk)
      guard length > 0 else { continue }
      let image = try Self.opened(DMGBuilder(chunks: [chunk, .zero(1)]))
      #expect(try image.bytes(0, 512) == half)
    }
  }

  /// What is not read is said, and the rest is there.
  @Test func typesThatAreNotRead() throws {
    try damage(.unsupported, "LZFSE", Chunk(0x8000_0007, sectors: 2, stored: [1, 2, 3]))
    for type in [3, 0x8000_0003, 0x8000_0009] as [UInt32] {
      try damage(
        .unsupported, "0x" + String(type, radix: 16), Chunk(type, sectors: 2, stored: [1]))
    }
    let image = try Self.opened(
      DMGBuilder(chunks: [
        .raw(DMGTests.pattern(1, 1)), Chunk(0x8000_0007, sectors: 2, stored: [1]),
        Chunk(9, sectors: 1),
      ]))
    #expect(image.disk.layers[0].description.subformat == "ULFO")
    #expect(image.notes.count == 2)
    #expect(image.notes[0].hasPrefix("1 of 3 chunks are of the type 0x9"))
    #expect(image.notes[1].hasPrefix("1 of 3 chunks are of the type LZFSE"))
  }

  @Test func encryptedImagesAreNamed() throws {
    let bytes = ImageBytes.pattern(4096, seed: 1)
    for image in [Array("encrcdsa".utf8) + bytes, bytes + Array("cdsaencr".utf8)] {
      let error = #expect(throws: DiskError.self) {
        try OpenedImage(MemoryStorage(image, path: "x.dmg"))
      }
      #expect(error?.kind == .unsupported && error?.message.contains("encrypted") == true)
    }
  }

  /// Told that it is one, what is none is said so.
  @Test func noTrailer() {
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(
        MemoryStorage(ImageBytes.pattern(4096, seed: 1), path: "x.dmg"), as: DMGFormat())
    }
    #expect(error?.kind == .malformed && error?.offset == 3584)
  }
}

@Suite struct DMGFuzzTests {
  private static let iterations = Soak.rounds(400)

  /// The trailer and, before it is written as Base64, the table.
  @Test func overwritten() throws {
    var random = SeededRandom(seed: 5)
    var opened = 0
    for round in 0..<Self.iterations {
      var builder = DMGTests.everyType
      let seed = UInt64(round)
      builder.fork = round % 3 == 0 ? .resourceFork : .propertyList
      if round % 2 == 0 {
        builder.tables[1].edit = { table in
          var random = SeededRandom(seed: seed)
          FuzzedImage.overwrite(
            &table, fields: Array(0..<32) + Array(200..<table.count), &random)
        }
      } else {
        builder.editTrailer = { trailer in
          var random = SeededRandom(seed: seed)
          FuzzedImage.overwrite(
            &trailer, fields: Array(4..<64) + Array(216..<232) + Array(488..<500), &random)
        }
      }
      if try FuzzedImage.survives(builder.bytes, as: DMGFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }

  @Test func overwrittenAnywhere() throws {
    let bytes = DMGTests.everyType.bytes
    var random = SeededRandom(seed: 6)
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: Array(0..<bytes.count), &random)
      _ = try FuzzedImage.survives(image.bytes, as: DMGFormat(), &random)
    }
  }
}
