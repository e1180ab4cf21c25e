import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct DMGTests {
  typealias Chunk = DMGBuilder.Chunk

  static func opened(_ builder: DMGBuilder) throws -> OpenedImage {
    try OpenedImage(MemoryStorage(builder.bytes, path: "x.dmg"))
  }

  static func pattern(_ sectors: Int, _ seed: UInt64) -> [UInt8] {
    ImageBytes.pattern(sectors * 512, seed: seed)
  }

  /// Every type that is read, in three parts of a disk of 37 sectors.
  static var everyType: DMGBuilder {
    DMGBuilder([
      .init("Master Boot Record (MBR : 0)", [.zlib(pattern(1, 1))]),
      .init(
        "one (Apple_HFS : 1)",
        [
          .comment, .raw(pattern(5, 2)), .zero(3), .adc(pattern(4, 3)), .bzip2, .ignored(2),
          .lzma, .comment, .zlib(pattern(7, 4)),
        ]),
      .init("(Apple_Free : 2)", [.ignored(14)]),
    ])
  }

  @Test func everyTypeOfChunk() throws {
    let builder = Self.everyType
    let image = try Self.opened(builder)
    #expect(image.disk.size == 38 * 512 && builder.content.count == 38 * 512)
    #expect(try image.all == builder.content)
    for (start, count) in [(500, 24), (512 * 5, 2048), (512 * 12 + 1, 3000), (512 * 16, 512)] {
      #expect(try image.bytes(start, count) == Array(builder.content[start..<start + count]))
    }
    // A zlib stream of 523 bytes stands before the raw chunk.
    #expect(try image.map[1...2] == ["512+2560 523", "3072+1536 zero"])
    #expect(image.notes.isEmpty)
    let description = image.disk.layers[0].description
    #expect(description.format == "dmg" && description.subformat == "ULMO")
    #expect(description.details.map(\.value) == ["3", "9"])
  }

  @Test(arguments: [
    (Chunk.raw(pattern(1, 1)), "UDRO"), (.adc(pattern(1, 1)), "UDCO"),
    (.zlib(pattern(1, 1)), "UDZO"), (.bzip2, "UDBZ"), (.lzma, "ULMO"), (.zero(1), "UDRO"),
  ]) func eachKind(_ chunk: Chunk, _ subformat: String) throws {
    let builder = DMGBuilder(chunks: [chunk])
    let image = try Self.opened(builder)
    #expect(try image.all == chunk.content)
    #expect(image.disk.layers[0].description.subformat == subformat)
  }

  @Test func theTrailerFirst() throws {
    var builder = Self.everyType
    builder.trailerIsFirst = true
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    // At both ends: the one at the end.
    let inside = Array(builder.bytes.prefix(512))
    builder = DMGBuilder(chunks: [.raw(inside), .raw(Self.pattern(1, 1))])
    #expect(try Self.opened(builder).all == builder.content)
  }

  @Test(arguments: [(0, 0), (4096, 0), (0, 512), (4096, 1000)] as [(UInt64, UInt64)])
  func offsetsFromTheForkAndTheTable(_ fork: UInt64, _ table: UInt64) throws {
    var builder = Self.everyType
    builder.dataForkOffset = fork
    builder.tableDataOffset = table
    #expect(try Self.opened(builder).all == builder.content)
  }

  @Test func aResourceFork() throws {
    var builder = Self.everyType
    builder.fork = .resourceFork
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    let layer = try #require(image.disk.layers[0] as? any ChecksummedLayer)
    #expect(
      layer.checksums.map { $0.name.isEmpty ? $0.kind : $0.name }
        == builder.tables.map(\.name) + ["data fork CRC-32", "master CRC-32"])
  }

  /// A disk that is all of the data fork.
  @Test func noTables() throws {
    var builder = DMGBuilder(chunks: [.raw(Self.pattern(9, 1))])
    builder.fork = .none
    builder.dataForkOffset = 100
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    #expect(try image.map == ["0+4608 100"])
  }

  /// Chunks in any order in the file and in their tables, and sectors that no table has.
  @Test func chunksOutOfOrderAndGaps() throws {
    var first = Chunk.raw(Self.pattern(2, 1))
    first.sector = 4
    var second = Chunk.zlib(Self.pattern(3, 2))
    second.sector = 0
    var table = DMGBuilder.Table("x", [first, second])
    table.sector = 10
    var builder = DMGBuilder([table])
    builder.editTrailer = { $0.putBig(20 as UInt64, at: 492) }
    let image = try Self.opened(builder)
    let zeros = [UInt8](repeating: 0, count: 512)
    var expected = [[UInt8]](repeating: zeros, count: 10).flatMap(\.self)
    expected += second.content + zeros + first.content
    expected += [[UInt8]](repeating: zeros, count: 4).flatMap(\.self)
    #expect(try image.all == expected)
    #expect(
      image.notes == ["7680 bytes of the disk are in no block table; they are shown as zeros"])
  }

  /// The larger of the two sizes, and a word about it.
  @Test func aSizeThatTheTablesExceed() throws {
    var builder = DMGBuilder(chunks: [.raw(Self.pattern(4, 1))])
    builder.editTrailer = { $0.putBig(3 as UInt64, at: 492) }
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    #expect(image.notes.count == 1 && image.notes[0].contains("3 sectors"))
  }

  /// Written in XML with entities and in one line, with the padding that Base64 has.
  @Test func otherWaysToWriteAPropertyList() throws {
    var builder = DMGBuilder([.init("a &amp; b", [.raw(Self.pattern(1, 1))])])
    let list = String(decoding: DMGBuilder(builder.tables).listed, as: UTF8.self)
    builder.propertyList = Array(
      list.replacing("\n", with: "").replacing("\t", with: " ").utf8)
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content)
    let layer = try #require(image.disk.layers[0] as? any ChecksummedLayer)
    #expect(layer.checksums.first?.name == "a & b")
  }

  /// What starts with a compressed chunk is not said to look like it.
  @Test func aHeadThatLooksLikeSomethingElse() throws {
    for head in [Chunk.bzip2, .lzma] {
      let builder = DMGBuilder(chunks: [head])
      let probe = FormatProbe(try ImageSample(of: MemoryStorage(builder.bytes)))
      #expect(probe.fitting.map(\.name) == ["dmg"] && probe.warning == nil && probe.remark == nil)
    }
    // A raw chunk can be another image's header: the trailer decides, and the doubt is said.
    var qcow2 = ImageBytes(count: 512)
    qcow2.put([0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 3], at: 0)
    let image = try Self.opened(DMGBuilder(chunks: [.raw(qcow2.bytes)]))
    #expect(image.disk.layers[0].description.format == "dmg")
    #expect(image.notes.count == 1 && image.notes[0].contains("qcow2"))
  }

  // MARK: - Checksums

  /// What each says is what is there.
  static func verify(_ image: Disk, file: String) throws -> [String] {
    let layer = try #require(image.layers[0] as? any ChecksummedLayer)
    return try layer.checksums.map { checksum in
      var bytes: [UInt8] = []
      for part in checksum.parts {
        switch part {
        case .disk(let range):
          bytes += try image.whole.bytes(at: DiskOffset(range.lowerBound), count: range.count)
        case .stored(let source, let range):
          bytes += try source.bytes(at: FileOffset(range.lowerBound), count: range.count)
        case .bytes(let sums): bytes += sums
        }
      }
      guard case .known(let value) = checksum.value else { return "" }
      #expect(GPTBuilder.crc32(bytes[...]) == value, "\(file): \(checksum.kind)")
      return checksum.name.isEmpty ? checksum.kind : checksum.name
    }
  }

  @Test func checksums() throws {
    let builder = Self.everyType
    let names = try Self.verify(Self.opened(builder).disk, file: "built")
    #expect(names == builder.tables.map(\.name) + ["data fork CRC-32", "master CRC-32"])
    // Types other than CRC-32 are passed over.
    var other = Self.everyType
    other.editTrailer = { trailer in
      for place in [80, 352] { trailer.putBig(4 as UInt32, at: place) }
    }
    other.tables[0].edit = { $0.putBig(0 as UInt32, at: 64) }
    #expect(
      try Self.verify(Self.opened(other).disk, file: "built")
        == other.tables.dropFirst().map(\.name))
  }
}

/// Images that hdiutil wrote: what it recorded is what is read.
@Suite(.enabled(if: SharedImages.exist, "the shared images are not here"))
struct SharedDMGTests {
  @Test(arguments: ["compression-bz2", "compression-raw", "compression-zlib", "hfsplus_zlib"])
  func checksums(_ name: String) throws {
    let folder = try #require(SharedImages.folder)
    let image = try OpenImage(path: "\(folder)/\(name).dmg")
    #expect(image.notes.isEmpty && image.remark == nil)
    let names = try DMGTests.verify(image.disk, file: name)
    #expect(names.contains("master CRC-32") && names.count >= 6)
  }
}

extension DMGBuilder {
  /// The property list that it has in its file.
  var listed: [UInt8] {
    let bytes = self.bytes
    let start = bytes.firstRange(of: Array("<?xml".utf8))?.lowerBound ?? 0
    return Array(bytes[start..<bytes.count - 512])
  }
}
