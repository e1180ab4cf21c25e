import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = ISO9660Builder
private typealias Record = ISO9660Builder.Record

@Suite struct ISO9660Tests {
  private func volume(_ records: [Record]) throws -> ISO9660Volume {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, records)
    return try ISO9660Volume(builder.built())
  }

  @Test func namesAreShownAsLinuxShowsThem() throws {
    let names = [
      "README.TXT;1", "NODOT.;1", "SECOND.TXT;2", "PLAIN", "DOT.", "A/B;1", "MIXed.c", ";1",
    ]
    let volume = try volume(names.map { Record($0, block: 30, length: 0) })
    #expect(
      try volume.names() == [
        "readme.txt", "nodot", "second.txt.2", "plain", "dot.", "a.b", "mixed.c", "\\x",
      ])
  }

  @Test func attributesAreTheRecords() throws {
    var hidden = Record("HIDDEN.BIN;1", block: 30, length: 77, flags: 1)
    hidden.date = [70, 1, 1, 0, 0, 0, 0xFC]
    var undated = Record("UNDATED", block: 30, length: 0)
    undated.date = [0, 0, 0, 0, 0, 0, 0]
    // genisoimage writes such a zone for times to come; it is none.
    var zoned = Record("ZONED", block: 30, length: 0)
    zoned.date[6] = 0xA0
    let volume = try volume([Record("A", block: 30, length: 5), hidden, undated, zoned])
    let attributes = try volume.attributes("a")
    #expect(attributes.kind == .file)
    #expect(attributes.size == 5)
    #expect(attributes.permissions == nil)
    #expect(attributes.user == nil)
    #expect(attributes.links == 1)
    // 2024-02-29 12:30:15, an hour east of Greenwich.
    #expect(attributes.modified == FileTime(seconds: 1_709_206_215))
    // An hour west of it.
    #expect(try volume.attributes("hidden.bin").modified == FileTime(seconds: 3600))
    #expect(try volume.attributes("undated").modified == nil)
    #expect(try volume.attributes("zoned").modified == FileTime(seconds: 1_709_209_815))
    #expect(try volume.attributes("").kind == .folder)
    #expect(try volume.tree.fileSystem().type == "iso9660")
    #expect(try volume.tree.fileSystem().notes == ["names: ISO 9660"])
  }

  @Test func foldersGoOnInTheNextSector() throws {
    var builder = Builder()
    let files = (0..<200).map { Record("FILE\($0).;1", block: 40, length: UInt32($0)) }
    builder.folder(at: Builder.rootBlock, [.folder("SUB", block: 25, sectors: 5)])
    builder.folder(at: 25, sectors: 5, files)
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.names("sub") == (0..<200).map { "file\($0)" })
    #expect(try volume.attributes("sub/file199").size == 199)
    #expect(try volume.attributes("sub").size == 5 * 2048)
  }

  @Test(arguments: [512, 1024, 2048] as [UInt16])
  func blocksOfEverySize(_ size: UInt16) throws {
    var builder = Builder()
    builder.blockSize = size
    let scale = UInt32(2048 / size)
    builder.rootBlock = 24 * scale
    builder.blocks = 64 * scale
    let content = ImageBytes.pattern(3000, seed: 1)
    let files = (0..<60).map { Record("FILE\($0)", block: 40 * scale + 1, length: 3000) }
    builder.folder(at: 24 * scale, sectors: 2, files)
    builder.put(content, atBlock: 40 * scale + 1)
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.names().count == 60)
    #expect(try volume.bytes("file59") == content)
  }

  /// Pieces of 8,192 bytes, with a folder's sector ending between their records.
  @Test func filesInSeveralSections() throws {
    let content = ImageBytes.pattern(5 * 2048 + 100, seed: 2)
    var builder = Builder()
    let filler = (0..<43).map { Record("FILL\($0)", block: 30, length: 0) }
    let pieces = [
      Record("LONG.BIN;1", block: 50, length: 4096, flags: 0x80),
      Record("LONG.BIN;1", block: 40, length: 0, flags: 0x80),
      Record("LONG.BIN;1", block: 40, length: 4096, flags: 0x80),
      Record("LONG.BIN;1", block: 30, length: 2048 + 100),
    ]
    builder.folder(
      at: Builder.rootBlock, sectors: 2,
      filler + pieces + [Record("NEXT", block: 30, length: 1)])
    builder.put(Array(content[..<4096]), atBlock: 50)
    builder.put(Array(content[4096..<8192]), atBlock: 40)
    builder.put(Array(content[8192...]), atBlock: 30)
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.names().suffix(2) == ["long.bin", "next"])
    #expect(try volume.attributes("long.bin").size == UInt64(content.count))
    #expect(try volume.bytes("long.bin") == content)
  }

  @Test func filesOfMoreThan4GiB() throws {
    let section: UInt32 = 0xFFFF_F800
    let blocks = section / 2048
    var builder = Builder()
    builder.blocks = 3 * blocks
    builder.folder(
      at: Builder.rootBlock,
      [
        Record("HUGE", block: 100, length: section, flags: 0x80),
        Record("HUGE", block: 100 + blocks, length: section, flags: 0x80),
        Record("HUGE", block: 100 + 2 * blocks, length: 4096),
      ])
    builder.put(Array("across".utf8), atBlock: 100 + blocks)
    builder.put(Array("the end".utf8), atBlock: 100 + 2 * blocks + 1)
    let volume = try ISO9660Volume(builder.built(size: UInt64(blocks + 100) * 3 * 2048))
    let window = try volume.tree.content(of: try volume.item("huge"))
    #expect(window.size == 2 * UInt64(section) + 4096)
    let across = try window.bytes(at: DiskOffset(UInt64(section) - 2), count: 8)
    #expect(across == [0, 0] + Array("across".utf8))
    let end = try window.bytes(at: DiskOffset(2 * UInt64(section) + 2048), count: 7)
    #expect(end == Array("the end".utf8))
  }

  /// Units of two blocks, gaps of three (ECMA-119, 6.4.3).
  @Test func interleavedFiles() throws {
    let content = ImageBytes.pattern(5 * 2048 - 7, seed: 3)
    var record = Record("INTER", block: 30, length: UInt32(content.count))
    record.unit = 2
    record.gap = 3
    var attributed = record
    attributed.name = Array("WITHXAR".utf8)
    attributed.block = 25
    attributed.attributeBlocks = 1
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [record, attributed])
    builder.put(Array(content[..<4096]), atBlock: 30)
    builder.put(Array(content[4096..<8192]), atBlock: 35)
    builder.put(Array(content[8192...]), atBlock: 40)
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.bytes("inter") == content)
    #expect(try volume.bytes("withxar") == content)
  }

  @Test func extendedAttributeRecordsAreBeforeTheData() throws {
    var file = Record("FILE", block: 30, length: 4)
    file.attributeBlocks = 2
    var folder = Record.folder("SUB", block: 40)
    folder.attributeBlocks = 1
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [file, folder])
    builder.put(Array("data".utf8), atBlock: 32)
    builder.folder(at: 41, [Record("INNER", block: 30, length: 0)])
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.bytes("file") == Array("data".utf8))
    #expect(try volume.names("sub") == ["inner"])
  }

  @Test func associatedFilesAreNotShown() throws {
    let volume = try volume([
      Record("FORK", block: 30, length: 1, flags: 0x84),
      Record("FORK", block: 31, length: 1, flags: 0x04),
      Record("FORK", block: 32, length: 3),
    ])
    #expect(try volume.names() == ["fork"])
    #expect(try volume.attributes("fork").size == 3)
  }

  @Test func numbersThatDisagreeAreTakenLittleEndian() throws {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [Record("A", block: 30, length: 1)])
    let built = builder.built(extra: [(16 * 2048 + 132 - 2, [0, 0])])
    var bytes = built.bytes
    bytes.replaceSubrange(16 * 2048 + 130..<16 * 2048 + 132, with: [0x11, 0x22])
    let volume = try ISO9660Volume(
      BuiltFile(size: UInt64(bytes.count), pieces: [(at: 0, bytes: bytes)]))
    #expect(try volume.names() == ["a"])
    #expect(
      try volume.tree.fileSystem().notes.first
        == "the block size differs in its two byte orders; the little-endian one is taken")
  }

  // MARK: Joliet and ISO 9660:1999

  private func utf16(_ text: String) -> [UInt8] {
    text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
  }

  private func withJoliet(escape: String = "%/E") -> Builder {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [Record("SHORT_NA.TXT;1", block: 30, length: 0)])
    builder.supplementary(root: 26, escape: escape)
    builder.folder(
      at: 26,
      ["Größe & Ünïcode 🐧.txt;1", "trailing...;1", "both"].map {
        Record(utf16($0), block: 30, length: 0)
      })
    return builder
  }

  @Test(arguments: ["%/@", "%/C", "%/E"])
  func jolietIsPreferred(_ escape: String) throws {
    let built = withJoliet(escape: escape).built()
    let volume = try ISO9660Volume(built)
    #expect(try volume.names() == ["Größe & Ünïcode 🐧.txt", "trailing", "both"])
    #expect(try volume.tree.fileSystem().notes == ["names: Joliet"])
    #expect(try ISO9660Volume(built, names: .iso).names() == ["short_na.txt"])
    #expect(
      message { try ISO9660Volume(built, names: .rockRidge).names() }
        == "this disc has no rock-ridge names; it has joliet, iso")
  }

  @Test func otherCharacterSetsAreNotJoliet() throws {
    #expect(try ISO9660Volume(withJoliet(escape: "(B").built()).names() == ["short_na.txt"])
  }

  @Test func longNamesOfTheEnhancedDescriptor() throws {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [Record("SHORT_NA.TXT;1", block: 30, length: 0)])
    builder.supplementary(root: 26, escape: "", version: 2)
    let long = String(repeating: "Long", count: 40) + ".txt"
    builder.folder(at: 26, [Record(long, block: 30, length: 0)])
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.names() == [long])
    #expect(try volume.tree.fileSystem().notes == ["names: ISO 9660:1999"])
  }

  // MARK: Sessions

  /// A second session as a CD, a DVD and an overwritten medium have it.
  @Test(arguments: [(11_400, false), (11_402, true), (6_900, true), (0, false), (16, true)])
  func theLastSessionIsShown(_ gap: Int, _ sizeIsOfSession: Bool) throws {
    var first = Builder()
    first.folder(at: Builder.rootBlock, [Record("OLD", block: 30, length: 3)])
    first.put(Array("old".utf8), atBlock: 30)
    let start = 64 + gap
    var second = Builder()
    second.session = start
    second.rootBlock = UInt32(start + 30)
    second.blocks = sizeIsOfSession ? 40 : UInt32(start + 40)
    second.folder(
      at: second.rootBlock,
      [Record("OLD", block: 30, length: 3), Record("NEW", block: UInt32(start + 31), length: 3)])
    second.put(Array("new".utf8), atBlock: UInt32(start + 31))
    let both = second.built(size: UInt64(start + 40) * 2048, extra: first.built().pieces)
    let volume = try ISO9660Volume(both)
    #expect(try volume.names() == ["old", "new"])
    #expect(try volume.bytes("old") == Array("old".utf8))
    #expect(try volume.bytes("new") == Array("new".utf8))
    #expect(
      try volume.tree.fileSystem().notes.last
        == "the last session is shown, which starts at sector \(start)")
  }

  /// Descriptors in every sector, behind them a session: they are not all read.
  @Test(arguments: [150, 250])
  func muchThatLooksLikeASession(_ count: Int) throws {
    var first = Builder()
    first.folder(at: Builder.rootBlock, [Record("OLD", block: 30, length: 0)])
    let start = 64 + count
    var second = Builder()
    second.session = start
    second.rootBlock = UInt32(start + 30)
    second.blocks = UInt32(start + 40)
    second.folder(at: second.rootBlock, [Record("NEW", block: 30, length: 0)])
    let heads = (0..<count).map { index in
      (at: UInt64(64 + 16 + index) * 2048, bytes: [1] + Array("CD001".utf8) as [UInt8])
    }
    let volume = try ISO9660Volume(
      second.built(size: UInt64(start + 40) * 2048, extra: first.built().pieces + heads))
    #expect(try volume.names() == [count < 200 ? "new" : "old"])
  }

  @Test func anotherImageBehindTheVolumeIsNoSession() throws {
    var first = Builder()
    first.folder(at: Builder.rootBlock, [Record("ONE", block: 30, length: 0)])
    let image = first.built().bytes
    let volume = try ISO9660Volume(
      first.built(size: 128 * 2048, extra: [(at: 64 * 2048, bytes: image)]))
    #expect(try volume.names() == ["one"])
    #expect(try volume.tree.fileSystem().notes == ["names: ISO 9660"])
  }
}
