import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = ISO9660Builder
private typealias Record = ISO9660Builder.Record

@Suite struct ZisofsTests {
  /// Block pointers behind a header, as both versions have them; an empty block is a hole.
  static func file(header: [UInt8], pointerSize: Int, blocks: [[UInt8]]) -> [UInt8] {
    var result = ImageBytes(header)
    var place = header.count + (blocks.count + 1) * pointerSize
    for (index, length) in (blocks.map(\.count) + [0]).enumerated() {
      let pointer = header.count + index * pointerSize
      if pointerSize == 4 {
        result.putLittle(UInt32(place), at: pointer)
      } else {
        result.putLittle(UInt64(place), at: pointer)
      }
      place += length
    }
    for block in blocks { result.put(block, at: result.count) }
    return result.bytes
  }

  static func first(size: UInt32, power: UInt8 = 15, _ blocks: [[UInt8]]) -> [UInt8] {
    var header = ImageBytes([0x37, 0xE4, 0x53, 0x96, 0xC9, 0xDB, 0xD6, 0x07])
    header.putLittle(size, at: 8)
    header.put([4, power, 0, 0], at: 12)
    return file(header: header.bytes, pointerSize: 4, blocks: blocks)
  }

  static func second(method: UInt8, size: UInt64, power: UInt8 = 15, _ blocks: [[UInt8]]) -> [UInt8]
  {
    var header = ImageBytes([0xEF, 0x22, 0x55, 0xA1, 0xBC, 0x1B, 0x95, 0xA0, 0, 6, method, power])
    header.putLittle(size, at: 12)
    header.put([0, 0, 0, 0], at: 20)
    return file(header: header.bytes, pointerSize: 8, blocks: blocks)
  }

  static func volume(_ entry: [UInt8], _ stored: [UInt8]) throws -> ISO9660Volume {
    var builder = Builder()
    builder.folder(
      at: Builder.rootBlock, own: RockRidgeTests.own,
      [
        Record("Z", block: 40, length: UInt32(stored.count)).with(
          SystemUse.name("z"), SystemUse.attributes(mode: 0o100644), entry)
      ])
    builder.put(stored, atBlock: 40)
    return try ISO9660Volume(builder.built())
  }

  /// A zlib stream (RFC 1950) of stored blocks.
  static func zlib(_ bytes: [UInt8]) -> [UInt8] {
    var (a, b) = (1 as UInt32, 0 as UInt32)
    for byte in bytes {
      a = (a + UInt32(byte)) % 65_521
      b = (b + a) % 65_521
    }
    var result = ImageBytes([0x78, 0x01] + CompressedBytes.deflate(bytes))
    result.putBig(b << 16 | a, at: result.count)
    return result.bytes
  }

  @Test func firstVersion() throws {
    let content = ImageBytes.pattern(32_768, seed: 1)
    let end = Array("the end".utf8)
    let stored = Self.first(size: 98_311, [Self.zlib(content), [], [], Self.zlib(end)])
    let volume = try Self.volume(SystemUse.zisofs(size: 98_311), stored)
    let attributes = try volume.attributes("z")
    #expect(attributes.size == 98_311)
    #expect(attributes.allocatedBytes == UInt64(stored.count))
    #expect(
      try volume.bytes("z") == content + [UInt8](repeating: 0, count: 65_536) + end)
    let window = try volume.tree.content(of: try volume.item("z"))
    #expect(try window.nextHole(from: .start) == DiskOffset(32_768))
    #expect(try window.nextData(from: DiskOffset(32_768)) == DiskOffset(98_304))
  }

  /// With every compression of the second: 512 letters A.
  @Test(arguments: [
    (1, "PZ", CompressedBytes.Of512A.zlib), (2, "XZ", CompressedBytes.Of512A.xz),
    (3, "L4", CompressedBytes.Of512A.lz4),
    (4, "ZD", CompressedBytes.zstd([UInt8](repeating: 0x41, count: 512))),
    (5, "B2", CompressedBytes.Of512A.bzip2),
  ])
  func secondVersion(_ method: UInt8, _ letters: String, _ block: [UInt8]) throws {
    let size: UInt64 = 1 << 17 + 512
    let volume = try Self.volume(
      SystemUse.zisofs2(letters, size: size, power: 17),
      Self.second(method: method, size: size, power: 17, [[], block]))
    #expect(try volume.attributes("z").size == size)
    #expect(
      try volume.bytes("z")
        == [UInt8](repeating: 0, count: 1 << 17) + [UInt8](repeating: 0x41, count: 512))
  }

  @Test func whatCannotBe() throws {
    let block = Self.zlib(Array("x".utf8))
    func error(_ entry: [UInt8], _ stored: [UInt8]) throws -> String {
      let volume = try Self.volume(entry, stored)
      // Listed all the same.
      #expect(try volume.names() == ["z"])
      _ = try volume.attributes("z")
      return try #require(message { try volume.bytes("z") })
    }
    #expect(
      try error(SystemUse.zisofs(size: 1, power: 31), Self.first(size: 1, power: 31, [block]))
        .contains("blocks of 2^31"))
    #expect(
      try error(SystemUse.zisofs(size: 1), [UInt8](repeating: 9, count: 90)).contains("header"))
    #expect(try error(SystemUse.zisofs(size: 1), [1]).contains("header"))
    #expect(
      try error(SystemUse.zisofs(size: 2), Self.first(size: 1, [block])).contains(
        "directory record"))
    #expect(
      try error(SystemUse.zisofs2("??", size: 1), Self.second(method: 9, size: 1, [block]))
        .contains("compression 9"))
    // 2³² bytes promised by a file of 100: the table cannot be there.
    #expect(
      try error(SystemUse.zisofs(size: .max), Self.first(size: .max, [block])).contains("table"))
    var backwards = Self.first(size: 1, [block])
    backwards[16] = 0xFF
    #expect(try error(SystemUse.zisofs(size: 1), backwards).contains("block 0"))
    var damaged = Self.first(size: 1, [block])
    damaged[26] ^= 0xFF
    #expect(
      try error(SystemUse.zisofs(size: 1), damaged).contains("block 0 of a zisofs file is damaged"))
  }
}
