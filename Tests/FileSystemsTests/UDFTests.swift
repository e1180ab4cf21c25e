import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = UDFBuilder
private typealias Entry = UDFBuilder.Entry

/// Volumes laid out by hand: what the driver makes of each structure.
@Suite struct UDFTests {
  private static func text(_ text: String) -> Entry { Entry(data: Array(text.utf8)) }

  @Test(arguments: [512, 1024, 2048, 4096]) func everyBlockSize(_ size: Int) throws {
    var builder = Builder(blockSize: size)
    let content = ImageBytes.pattern(3 * size + 17, seed: 1)
    builder.putRoot([
      Builder.identifier("", 1, characteristics: 10), Builder.identifier("inside", 2),
      Builder.identifier("outside", 3),
    ])
    builder.put(Self.text("hello"), block: 2)
    builder.put(
      Entry(
        form: 0,
        data: Builder.short(UInt32(2 * size), 10) + Builder.short(UInt32(size + 17), 20),
        size: UInt64(content.count)), block: 3)
    builder.put(Array(content.prefix(2 * size)), block: 10)
    builder.put(Array(content.dropFirst(2 * size)), block: 20)
    let disc = try UDFDisc(builder)
    #expect(try disc.names() == ["inside", "outside"])
    #expect(try disc.text("inside") == "hello")
    #expect(try disc.bytes("outside") == content)
    #expect(try disc.notes == ["UDF 1.02"])
  }

  @Test func names() throws {
    var builder = Builder()
    let long = String(repeating: "ü", count: 254)
    builder.putRoot([
      Builder.identifier("", 1, characteristics: 10),
      Builder.identifier("Größe", 2), Builder.identifier("日本語 🐧", 2),
      Builder.identifier("gone", 2, characteristics: 4),
      Builder.identifier("hidden", 2, characteristics: 1),
      Builder.identifier([16, 0xD8, 0x00, 0, 0x41], 2), Builder.identifier([16, 0, 0x42, 0], 2),
      Builder.identifier([], 2), Builder.identifier([8] + Array("a/b".utf8), 2),
      Builder.identifier([8] + Array("used".utf8), 2, use: 33),
      Builder.identifier([9] + Array("?".utf8), 2), Builder.identifier("..", 2),
      Builder.identifier(long, 2),
    ])
    builder.put(Self.text("x"), block: 2)
    let names = try UDFDisc(builder).names()
    #expect(
      names.dropLast() == [
        "Größe", "日本語 🐧", "hidden", "\u{FFFD}A", "B", "\\x", "a\\x2fb", "used", "\t?", "\\x2e\\x2e",
      ])
    #expect(names.last == String(repeating: "ü", count: 127))
  }

  @Test(arguments: [false, true]) func attributes(isExtended: Bool) throws {
    var builder = Builder()
    builder.putRoot([
      Builder.identifier("file", 2), Builder.identifier("other name", 2),
      Builder.identifier("folder", 3, characteristics: 2), Builder.identifier("plain", 4),
    ])
    builder.put(
      Self.text("12345").with {
        $0.isExtended = isExtended
        $0.permissions = 0b11100_00110_11001
        $0.flags = 1 << 6 | 1 << 8
        $0.user = 1000
        $0.group = 0
        $0.links = 2
        $0.blocks = 3
        $0.modified = Builder.time(2024, 2, 29, 1, 30, 15, fraction: [99, 98, 97], minutes: 120)
        $0.accessed = Builder.time(1969, 12, 31, 18, minutes: -330)
        $0.changed = Builder.time(2000, 1, 1, minutes: -2047)
        $0.created = Builder.time(2000, 1, 1, minutes: 60, type: 0)
      }, block: 2)
    builder.put(Entry(type: 4, data: []), block: 3)
    builder.put(
      Self.text("").with {
        $0.modified = [UInt8](repeating: 0, count: 12)
        // Not a fraction of a second.
        $0.accessed = Builder.time(2001, 1, 1, fraction: [12, 255, 1])
      }, block: 4)
    let disc = try UDFDisc(builder)
    let file = try disc.attributes("file")
    #expect(file.kind == .file && file.size == 5 && file.allocatedBytes == 3 * 2048)
    // Of the five bits a class the upper two, to change and to delete, do not count.
    #expect(file.permissions == 0o5461)
    #expect(file.user == 1000 && file.group == 0 && file.links == 2)
    #expect(file.modified == FileTime(seconds: 1_709_163_015, nanoseconds: 999_897_000))
    #expect(file.accessed == FileTime(seconds: -21600 + 330 * 60))
    #expect(file.changed == FileTime(seconds: 946_684_800))
    #expect(file.created == (isExtended ? FileTime(seconds: 946_684_800) : nil))
    #expect(try disc.item("file") == disc.item("other name"))
    let plain = try disc.attributes("plain")
    #expect(plain.user == nil && plain.group == nil && plain.modified == nil)
    #expect(plain.permissions == 0o755)
    #expect(plain.accessed == FileTime(seconds: 978_307_200))
    // In UDF one that holds no other folder has one link; on Linux it is in itself too.
    #expect(try disc.attributes("folder").links == 2 && plain.links == 1)
    #expect(try disc.attributes("folder").kind == .folder)
    #expect(try disc.attributes("").kind == .folder)
  }

  @Test func linksAndDevices() throws {
    var builder = Builder()
    let special: [(name: String, type: UInt8)] = [
      ("block", 6), ("character", 7), ("pipe", 9), ("socket", 10), ("played", 249), ("bare", 7),
    ]
    builder.putRoot(
      [Builder.identifier("link", 2), Builder.identifier("root", 3)]
        + special.enumerated().map { Builder.identifier($1.name, 4 + UInt32($0)) })
    func component(_ type: UInt8, _ name: [UInt8] = []) -> [UInt8] {
      [type, UInt8(name.count), 0, 0] + name
    }
    builder.put(
      Entry(
        type: 12,
        data: component(3) + component(4) + component(5, Builder.name("Größe"))
          + component(5, Builder.name("日本"))), block: 2)
    builder.put(
      Entry(type: 12, data: component(2) + component(5, Builder.name("etc"))), block: 3)
    // After another attribute: type 1 of 20 bytes.
    let header = Builder.descriptor(262, [24, 0, 0, 0, 0, 0, 0, 0], location: 4)
    let other =
      Builder.little(1 as UInt32) + [1, 0, 0, 0] + Builder.little(20 as UInt32)
      + [UInt8](repeating: 9, count: 8)
    let device =
      Builder.little(12 as UInt32) + [1, 0, 0, 0] + Builder.little(24 as UInt32)
      + Builder.little(0 as UInt32) + Builder.little(8 as UInt32) + Builder.little(17 as UInt32)
    for (index, item) in special.enumerated() {
      builder.put(
        Entry(type: item.type, data: []).with {
          if item.name != "bare" { $0.attributes = header + other + device }
        }, block: 4 + UInt32(index))
    }
    let disc = try UDFDisc(builder)
    #expect(try disc.target("link") == ".././Größe/日本")
    #expect(try disc.attributes("link").size == UInt64(".././Größe/日本".utf8.count))
    #expect(try disc.target("root") == "/etc")
    let kinds: [FileKind] = [
      .blockDevice, .characterDevice, .pipe, .socket, .file, .characterDevice,
    ]
    for (item, kind) in zip(special, kinds) {
      #expect(try disc.attributes(item.name).kind == kind)
    }
    #expect(try disc.tree.folder(disc.tree.root()).entries.map(\.kind) == [.link, .link] + kinds)
    #expect(try disc.attributes("block").major == 8)
    #expect(try disc.attributes("block").minor == 17)
    #expect(try disc.attributes("bare").major == 0)
  }

  /// Each kind of allocation descriptor, with holes of both kinds, continued twice.
  @Test(arguments: [0, 1, 2] as [UInt16]) func allocation(form: UInt16) throws {
    func piece(_ length: UInt32, _ block: UInt32, kind: UInt32 = 0) -> [UInt8] {
      switch form {
      case 0: Builder.short(length, block, kind: kind)
      case 1: Builder.long(length, block, kind: kind)
      default: Builder.extended(length, block, kind: kind)
      }
    }
    var builder = Builder()
    builder.putRoot([Builder.identifier("file", 2)])
    let content = ImageBytes.pattern(3 * 2048, seed: 7)
    let zeros = [UInt8](repeating: 0, count: 2048)
    let first = piece(2048, 10) + piece(4096, 11, kind: 1) + piece(2048, 5, kind: 3)
    let second = piece(2048, 20) + piece(2048, 0, kind: 2) + piece(2048, 6, kind: 3)
    let third = piece(100, 30) + piece(0, 0) + piece(2048, 31)
    builder.put(Entry(form: form, data: first, size: 5 * 2048 + 100), block: 2)
    for (block, data) in [(5, second), (6, third)] as [(UInt32, [UInt8])] {
      let header = Builder.little(0 as UInt32) + Builder.little(UInt32(data.count))
      builder.put(258, header + data, block: block)
    }
    builder.put(Array(content[..<2048]), block: 10)
    builder.put([UInt8](repeating: 0xEE, count: 4096), block: 11)
    builder.put(Array(content[2048..<4096]), block: 20)
    builder.put(Array(content[4096...]), block: 30)
    #expect(
      try UDFDisc(builder).bytes("file") == Array(content[..<2048]) + zeros + zeros
        + Array(content[2048..<4096]) + zeros + Array(content[4096..<4196]))
  }

  /// 5 GiB in pieces of a gibibyte less a block, the most that a descriptor can say.
  @Test func largeFile() throws {
    let most: UInt32 = 1 << 30 - 2048
    let size: UInt64 = 5 << 30 + 5
    var builder = Builder()
    builder.partitionBlocks = 3 << 20
    let blocks = most / 2048
    let pieces = (0..<5 as Range<UInt32>).flatMap { Builder.short(most, 1000 + $0 * blocks) }
    let rest = size - 5 * UInt64(most)
    builder.putRoot([Builder.identifier("large", 2)])
    builder.put(
      Entry(form: 0, data: pieces + Builder.short(UInt32(rest), 1000 + 5 * blocks), size: size),
      block: 2)
    var small = builder
    small.partitionBlocks = 16
    // The same descriptors but for the partition's length, and nothing in between.
    var front = ImageBytes(Array(small.built()))
    for start in [Builder.mainSector, Builder.reserveSector] {
      front.put(
        Builder.descriptor(5, builder.partition(sequence: 1), location: UInt32(start)),
        at: start * 2048)
    }
    let base = UInt64(Builder.partitionSector + 1000) * 2048
    let marker = Array("here is the end".utf8)
    let disc = try UDFDisc(
      try Disk.holding(
        size: 7 << 30,
        pieces: [
          (0, front.bytes), (base + (4 << 30) - 8, marker), (base + size - 5, [1, 2, 3, 4, 5]),
        ]))
    let window = try disc.tree.content(of: try disc.item("large"))
    #expect(window.size == size)
    #expect(try window.bytes(at: DiskOffset(4 << 30 - 8), count: marker.count) == marker)
    #expect(try window.bytes(at: DiskOffset(size - 5), count: 5) == [1, 2, 3, 4, 5])
  }

  /// A folder in pieces that do not end where its identifiers do.
  @Test func folderInPieces() throws {
    var builder = Builder(blockSize: 512)
    let names = (0..<40).map { "file number \($0), with a longer name" }
    let list = names.flatMap { Builder.identifier($0, 2) }
    builder.put(Self.text("x"), block: 2)
    var descriptors: [UInt8] = []
    var padded = ImageBytes(list)
    padded.grow(to: (list.count / 512 + 2) * 512)
    for index in 0..<padded.count / 512 {
      let block = UInt32(60 - index)
      builder.put(Array(padded.bytes[index * 512..<(index + 1) * 512]), block: block)
      descriptors += Builder.short(512, block)
    }
    // The last block is zeros, which some writers count.
    builder.put(Entry(type: 4, form: 0, data: descriptors, size: UInt64(padded.count)), block: 1)
    #expect(try UDFDisc(builder).names() == names)
  }

  /// Strategy 4096: each entry is followed by the place of a newer one.
  @Test func rewrittenEntry() throws {
    var builder = Builder()
    builder.putRoot([
      Builder.identifier("file", 2), Builder.identifier("pointer", 9),
      Builder.identifier("link", 10),
    ])
    for (block, text) in [(2, "old"), (4, "newer"), (6, "newest")] as [(UInt32, String)] {
      builder.put(Self.text(text).with { $0.strategy = 4096 }, block: block)
    }
    for (block, next) in [(3, 4), (5, 6), (7, 8), (9, 4)] as [(UInt32, UInt32)] {
      builder.put(259, [UInt8](repeating: 0, count: 20) + Builder.long(4096, next), block: block)
    }
    builder.put(
      259, [UInt8](repeating: 0, count: 20) + Builder.long(2048, 11), block: 10)
    builder.put(Entry(type: 12, data: [5, 2, 0, 0, 8, 0x61]), block: 11)
    let disc = try UDFDisc(builder)
    #expect(try disc.text("file") == "newest")
    #expect(try disc.text("pointer") == "newest")
    #expect(try disc.tree.folder(disc.tree.root()).entries.map(\.kind) == [.file, .file, .link])
  }

  /// No item has the number 0, which a mount takes for the root.
  @Test func entryInTheFirstBlock() throws {
    var builder = Builder()
    builder.fileSet = (0, 20)
    builder.putRoot([
      Builder.identifier("first", 0), Builder.identifier("none", .max, partition: .max),
    ])
    builder.put(Self.text("x"), block: 0)
    let disc = try UDFDisc(builder)
    #expect(try disc.text("first") == "x")
    for name in ["first", "none"] {
      let number = try disc.item(name).number
      #expect(number > 0 && number <= ItemID.largest)
    }
    #expect(UDFDisc.complaint { try disc.attributes("none") }.contains("partition reference 65534"))
  }

  @Test func bridge() throws {
    var builder = Builder()
    builder.isBridge = true
    builder.putRoot([Builder.identifier("file", 2)])
    let window = try Disk.holding(builder.built()).whole
    #expect(try FileSystemRegistry.open(Volume(window))?.type == "udf")
    let options = FileSystemOptions(isoNames: .joliet)
    // Its ISO 9660 descriptor has nothing in it: it is asked for and cannot be read.
    let other = try? FileSystemRegistry.open(Volume(window, options: options))
    #expect(other?.type != "udf")
    builder.isBridge = false
    let pure = try Disk.holding(builder.built()).whole
    #expect(try FileSystemRegistry.open(Volume(pure, options: options))?.type == "udf")
  }
}
