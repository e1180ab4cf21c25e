import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = ISO9660Builder
private typealias Record = ISO9660Builder.Record

@Suite struct ElToritoTests {
  private struct Entry {
    var media: UInt8 = 0
    var sectors: UInt16 = 4
    var block: UInt32
    var indicator: UInt8 = 0x88

    var bytes: [UInt8] {
      var bytes = ImageBytes(count: 32)
      bytes.put([indicator, media], at: 0)
      bytes.putLittle(sectors, at: 6)
      bytes.putLittle(block, at: 8)
      return bytes.bytes
    }
  }

  private static let validation: [UInt8] = {
    var bytes = ImageBytes(count: 32)
    bytes.put([1, 0], at: 0)
    bytes.put("PLATTER", at: 4)
    bytes.put([0x55, 0xAA], at: 30)
    var sum: UInt16 = 0
    for index in 0..<16 {
      sum &+= UInt16(bytes.bytes[2 * index]) | UInt16(bytes.bytes[2 * index + 1]) << 8
    }
    bytes.putLittle(0 &- sum, at: 28)
    return bytes.bytes
  }()

  private static func section(_ header: UInt8, _ platform: UInt8, _ entries: [Entry]) -> [UInt8] {
    var bytes = ImageBytes(count: 32)
    bytes.put([header, platform], at: 0)
    bytes.putLittle(UInt16(entries.count), at: 2)
    return bytes.bytes + entries.flatMap(\.bytes)
  }

  private func volume(_ catalogue: [UInt8], _ root: [Record] = []) throws -> ISO9660Volume {
    var builder = Builder()
    builder.blocks = 2000
    builder.bootRecord(catalogue: 22)
    builder.folder(at: Builder.rootBlock, root)
    builder.put(catalogue, atBlock: 22)
    builder.put(Array("boot loader".utf8), atBlock: 40)
    // mkisofs's boot information table: 16, the image's own block, its length.
    var table = ImageBytes(count: 24)
    table.putLittle(16 as UInt32, at: 8)
    table.putLittle(50 as UInt32, at: 12)
    table.putLittle(24_576 as UInt32, at: 16)
    builder.put(table.bytes, atBlock: 50)
    builder.put(Array(FileSystemBuilders.fat12().prefix(512)), atBlock: 100)
    return try ISO9660Volume(builder.built())
  }

  @Test func imagesAreFiles() throws {
    let catalogue =
      Self.validation + Entry(block: 40).bytes
      + Self.section(0x90, 0, [Entry(block: 50), Entry(media: 2, block: 60)])
      + Self.section(
        0x91, 0xEF,
        [Entry(sectors: 1, block: 100), Entry(sectors: 0, block: 1900), Entry(block: 0)])
    let volume = try volume(catalogue, [Record("A", block: 30, length: 0)])
    #expect(try volume.names() == ["a", "boot"])
    #expect(
      try volume.names("boot") == [
        "eltorito-1-bios.img", "eltorito-2-bios.img", "eltorito-3-bios.img", "eltorito-4-uefi.img",
        "eltorito-5-uefi.img",
      ])
    let sizes = try volume.names("boot").map { try volume.attributes("boot/" + $0).size }
    #expect(sizes == [2048, 24_576, 1_474_560, 1_474_560, 100 * 2048])
    #expect(
      try volume.bytes("boot/eltorito-1-bios.img").prefix(11) == Array("boot loader".utf8)[...])
    #expect(try volume.attributes("boot").kind == .folder)
  }

  @Test func theFolderGivesWayToOneOfTheDisc() throws {
    let volume = try volume(
      Self.validation + Entry(block: 40).bytes, [Record("BOOT", block: 30, length: 0)])
    #expect(try volume.names() == ["boot", "el-torito"])
    #expect(try volume.names("el-torito") == ["eltorito-1-bios.img"])
  }

  @Test func anEmulatedDiskIsAsLongAsItsPartition() throws {
    var builder = Builder()
    builder.blocks = 200
    builder.bootRecord(catalogue: 22)
    builder.folder(at: Builder.rootBlock, [])
    builder.put(Self.validation + Entry(media: 4, sectors: 1, block: 40).bytes, atBlock: 22)
    builder.put(MBRBuilder.hardDisk, atBlock: 40)
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.attributes("boot/eltorito-1-bios.img").size == 512 * (8 + 100))
  }

  @Test func aCatalogueThatCannotBeIsNotShown() throws {
    var wrong = Self.validation + Entry(block: 40).bytes
    wrong[5] ^= 1
    let volume = try volume(wrong)
    #expect(try volume.names().isEmpty)
    #expect(
      try volume.tree.fileSystem().notes.last
        == "boot images are not shown: the boot catalogue's checksum or keys are wrong")
  }

  /// 65,535 entries that all extend past the catalogue.
  @Test func anEndlessCatalogueEnds() throws {
    var header = ImageBytes(count: 32)
    header.put([0x90, 0, 0xFF, 0xFF], at: 0)
    let volume = try volume(
      Self.validation + Entry(block: 40).bytes + header.bytes
        + [[UInt8]](repeating: Entry(media: 0x20, block: 41).bytes, count: 400).flatMap { $0 })
    #expect(try volume.names("boot").count == 64)
  }
}

extension MBRBuilder {
  /// One partition of 100 sectors from the eighth on.
  fileprivate static var hardDisk: [UInt8] {
    var sector = ImageBytes(count: 512)
    sector.put([0x80], at: 446)
    sector.putLittle(8 as UInt32, at: 446 + 8)
    sector.putLittle(100 as UInt32, at: 446 + 12)
    sector.put([0x55, 0xAA], at: 510)
    return sector.bytes
  }
}
