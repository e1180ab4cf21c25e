import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct CloopTests {
  private static func blocks(_ count: Int, _ size: Int) -> [[UInt8]] {
    (0..<count).map { ImageBytes.pattern(size, seed: UInt64($0)) }
  }

  private static func opened(_ builder: CloopBuilder) throws -> OpenedImage {
    try OpenedImage(MemoryStorage(builder.bytes, path: "x.cloop"))
  }

  /// The stream is what zlib makes of 512 letters A.
  @Test func byHand() throws {
    var builder = CloopBuilder(blockSize: 512, blocks: Self.blocks(3, 512))
    builder.streams[1] = [
      0x78, 0xDA, 0x73, 0x74, 0x1C, 0x05, 0x23, 0x19, 0x00, 0x00, 0x4A, 0x9E, 0x82, 0x01,
    ]
    let image = try Self.opened(builder)
    #expect(image.disk.size == 1536 && image.disk.layers[0].tableBytes == 32)
    #expect(
      try image.all
        == builder.blocks[0] + [UInt8](repeating: 0x41, count: 512) + builder.blocks[2])
    #expect(try image.bytes(500, 24) == builder.blocks[0].suffix(12) + Array("AAAAAAAAAAAA".utf8))
    let description = image.disk.layers[0].description
    #expect(description.format == "cloop" && description.subformat == "V2.0")
    #expect(image.notes.isEmpty)
  }

  @Test(arguments: [512, 1536, 65_536, 262_144, 1 << 20]) func blockSizes(_ size: Int) throws {
    let builder = CloopBuilder(blockSize: UInt32(size), blocks: Self.blocks(5, size))
    let image = try Self.opened(builder)
    let content = builder.blocks.flatMap(\.self)
    #expect(try image.all == content)
    var random = SeededRandom(seed: UInt64(size))
    for _ in 0..<30 {
      let start = Int.random(in: 0...content.count, using: &random)
      let range = start..<min(content.count, start + Int.random(in: 0...9000, using: &random))
      #expect(try image.bytes(range.lowerBound, range.count) == Array(content[range]))
    }
  }

  /// A table of more than a page, whose blocks are one and the same stream.
  @Test func aLongTable() throws {
    let stream = CloopBuilder.zlib([UInt8](repeating: 7, count: 512))
    let count = 20_000
    let builder = CloopBuilder(blockSize: 512, blocks: [[UInt8]](repeating: [], count: count))
    var full = builder
    for index in 0..<count { full.streams[index] = stream }
    let image = try Self.opened(full)
    #expect(image.storage.reads.reduce(0) { $0 + $1.count } < 8192)
    // Around the first page's end, at entry 8,192.
    #expect(try image.bytes(8190 * 512, 4 * 512) == [UInt8](repeating: 7, count: 2048))
    #expect(try image.bytes(count * 512 - 1, 1) == [7])
  }

  // MARK: - The cloop row of shared/HOSTILE.md, and its like

  private func refusal(
    _ kind: DiskError.Kind, at offset: UInt64, _ edit: @escaping CloopBuilder.Edit
  ) throws {
    var builder = CloopBuilder(blockSize: 512, blocks: Self.blocks(4, 512))
    builder.editHeader = edit
    let error = #expect(throws: DiskError.self) { try Self.opened(builder) }
    #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
  }

  @Test func hostileHeaders() throws {
    for size in [0, 1, 511, 513, .max] as [UInt32] {
      try refusal(.malformed, at: 128) { $0.putBig(size, at: 128) }
    }
    for size in [1 << 31, 1 << 24] as [UInt32] {
      try refusal(.unsupported, at: 128) { $0.putBig(size, at: 128) }
    }
    for count in [1 << 20, .max] as [UInt32] {
      try refusal(.truncated, at: 136) { $0.putBig(count, at: 132) }
    }
  }

  /// The blocks around the damaged one can be read, where they are there.
  private func damage(
    _ kind: DiskError.Kind, at offset: UInt64, _ readable: [Int],
    _ edit: (inout CloopBuilder) -> Void
  ) throws {
    var builder = CloopBuilder(blockSize: 512, blocks: Self.blocks(4, 512))
    edit(&builder)
    let image = try Self.opened(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(512 + 100, 1) }
    #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
    #expect(error?.path == "x.cloop")
    for index in readable { #expect(try image.bytes(512 * index, 512) == builder.blocks[index]) }
  }

  @Test func hostileTables() throws {
    // Header and table take 176 bytes; a block takes 523.
    try damage(.malformed, at: 144, [0, 3]) { $0.editTable = { $0.putBig(0 as UInt64, at: 16) } }
    try damage(.malformed, at: 144, [0, 3]) {
      $0.editTable = { $0.putBig(176 + 523 as UInt64, at: 16) }
    }
    try damage(.malformed, at: 144, [2, 3]) { $0.editTable = { $0.putBig(175 as UInt64, at: 8) } }
    try damage(.malformed, at: 144, [2, 3]) { $0.editTable = { $0.putBig(UInt64.max, at: 8) } }
    try damage(.truncated, at: 144, [0, 3]) { $0.editTable = { $0.putBig(UInt64.max, at: 16) } }
    try damage(.truncated, at: 144, [0, 3]) { $0.editTable = { $0.putBig(5000 as UInt64, at: 16) } }
    // 1,046 bytes for 512.
    try damage(.malformed, at: 144, [0, 3]) {
      $0.editTable = { $0.putBig(176 + 3 * 523 as UInt64, at: 16) }
    }
  }

  @Test func hostileBlocks() throws {
    for content in [[], [1], ImageBytes.pattern(511, seed: 1), ImageBytes.pattern(513, seed: 1)] {
      try damage(.malformed, at: 176 + 523, [0, 2, 3]) {
        $0.streams[1] = CloopBuilder.zlib(content)
      }
    }
    var wrongSum = CloopBuilder.zlib(ImageBytes.pattern(512, seed: 1))
    wrongSum[wrongSum.count - 1] ^= 1
    for stream in [wrongSum, Array(wrongSum.dropLast(8)), [0], ImageBytes.pattern(600, seed: 2)] {
      try damage(.malformed, at: 176 + 523, [0, 2, 3]) { $0.streams[1] = stream }
    }
  }

  @Test(arguments: [24, 128, 135]) func filesThatEndInTheHeader(_ count: Int) throws {
    let builder = CloopBuilder(blockSize: 512, blocks: Self.blocks(4, 512))
    let storage = MemoryStorage(Array(builder.bytes.prefix(count)), path: "x.cloop")
    let error = #expect(throws: DiskError.self) { try OpenedImage(storage) }
    #expect(error?.kind == .truncated)
  }
}

@Suite struct CloopFuzzTests {
  private static let iterations = Soak.rounds(1500)

  @Test func overwritten() throws {
    let bytes = CloopBuilder(
      blockSize: 512, blocks: (0..<8).map { ImageBytes.pattern(512, seed: UInt64($0)) }
    ).bytes
    // The header, the table, and the starts of some streams.
    let fields = Array(128..<136 + 72) + Array(208..<220) + Array(208 + 523..<208 + 540)
    var random = SeededRandom(seed: 5)
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: CloopFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }
}

@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct CloopToolTests {
  /// qemu-img makes none: what it reads in images of the builder.
  @Test(arguments: [512, 65_536, 1 << 20]) func built(_ size: Int) throws {
    try HostTools.withFolder { folder in
      let builder = CloopBuilder(
        blockSize: UInt32(size), blocks: (0..<5).map { ImageBytes.pattern(size, seed: UInt64($0)) })
      try HostTools.write(builder.bytes, to: "\(folder)/x.cloop")
      let expected = try QEMU.raw("\(folder)/x.cloop", "cloop")
      #expect(try OpenImage(path: "\(folder)/x.cloop").content == expected)
      #expect(expected == builder.blocks.flatMap(\.self))
    }
  }
}
