import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = UDFBuilder
private typealias Entry = UDFBuilder.Entry

/// How a volume is entered, and partitions that are not what they seem.
@Suite struct UDFVolumeTests {
  private static func hello(_ text: String = "hello") -> Entry { Entry(data: Array(text.utf8)) }

  private static func simple(blockSize: Int = 2048) -> Builder {
    var builder = Builder(blockSize: blockSize)
    builder.putRoot([Builder.identifier("file", 2)])
    builder.put(hello(), block: 2)
    return builder
  }

  private static let last = Builder.partitionSector + 255

  @Test(arguments: [[256], [512], [last], [last - 256], [512]])
  func anchors(_ anchors: [Int]) throws {
    var builder = Self.simple()
    builder.anchors = anchors
    // Sector 512 is within the image only where the partition is as long.
    if anchors == [512] { builder.partitionBlocks = 300 }
    #expect(try UDFDisc(builder).text("file") == "hello")
  }

  @Test func noAnchor() throws {
    var builder = Self.simple()
    builder.anchors = []
    let window = try Disk.holding(builder.built()).whole
    #expect(!FileSystemRegistry.reads(window))
    #expect(try FileSystemRegistry.open(Volume(window)) == nil)
  }

  /// An anchor that leads to a volume without files, and another that leads to one with them.
  @Test func secondAnchor() throws {
    var builder = Self.simple()
    builder.anchors = [Self.last]
    var other = builder
    other.fileSet = (0, 99)
    builder.put(
      Builder.descriptor(5, other.partition(sequence: 1), location: 274), sector: 274)
    builder.put(
      Builder.descriptor(6, other.logicalVolume(sequence: 2), location: 275), sector: 275)
    let place = Builder.little(2 * 2048 as UInt32) + Builder.little(274 as UInt32)
    builder.put(
      Builder.descriptor(2, place + place + [UInt8](repeating: 0, count: 480), location: 256),
      sector: 256)
    #expect(try UDFDisc(builder).text("file") == "hello")
    // Alone it says what is wrong there.
    builder.anchors = []
    #expect(UDFDisc.complaint { try UDFDisc(builder).names() }.contains("no file set descriptor"))
  }

  @Test func reserveSequence() throws {
    var image = ImageBytes(Self.simple().built())
    image.put([0xFF], at: (Builder.mainSector + 1) * 2048 + 4)
    let disc = try UDFDisc(image.bytes)
    #expect(try disc.text("file") == "hello")
    #expect(try disc.notes.contains { $0.contains("the reserve ones are read") })
    // With both damaged in their checksums alone, the main one is good enough.
    image = ImageBytes(Self.simple().built())
    for start in [Builder.mainSector, Builder.reserveSector] {
      image.put([1], at: (start + 1) * 2048 + 100)
    }
    let damaged = try UDFDisc(image.bytes)
    #expect(try damaged.text("file") == "hello")
    #expect(try damaged.notes.contains { $0.contains("checksum is wrong") })
  }

  /// Of descriptors for one thing the one with the highest number counts; the sequence goes on elsewhere.
  @Test func prevailingDescriptors() throws {
    let builder = Self.simple()
    var image = ImageBytes(builder.built())
    let main = Builder.mainSector
    func put(_ kind: UInt16, _ body: [UInt8], _ sector: Int) {
      image.put(Builder.descriptor(kind, body, location: UInt32(sector)), at: sector * 2048)
    }
    put(5, builder.partition(sequence: 7, start: 1), main)
    let next =
      Builder.little(7 as UInt32) + Builder.little(4 * 2048 as UInt32)
      + Builder.little(274 as UInt32)
    put(3, next, main + 2)
    put(5, builder.partition(sequence: 9), 274)
    put(5, builder.partition(sequence: 8, start: 2), 275)
    put(6, builder.logicalVolume(sequence: 1), 276)
    put(8, [], 277)
    #expect(try UDFDisc(image.bytes).text("file") == "hello")
  }

  @Test func newestFileSet() throws {
    var builder = Self.simple()
    builder.fileSet = (0, 20)
    var image = ImageBytes(builder.built())
    // The descriptor that the volume names goes on in a newer one, which has the true root.
    let start = (Builder.partitionSector + 20) * 2048
    var body = ImageBytes(builder.fileSetDescriptor())
    body.put(Builder.long(2048, 50), at: 384)
    body.put(Builder.long(2048, 30), at: 432)
    image.put(Builder.descriptor(256, body.bytes, location: 20), at: start)
    image.put(
      Builder.descriptor(256, builder.fileSetDescriptor(number: 1), location: 30),
      at: start + 10 * 2048)
    #expect(try UDFDisc(image.bytes).text("file") == "hello")
  }

  // MARK: Partitions

  private func virtual(isOld: Bool, behind: Int = 0) -> Builder {
    var builder = Builder()
    builder.revision = isOld ? 0x0150 : 0x0201
    builder.maps = [Builder.plainMap(), Builder.virtualMap()]
    builder.root = (1, 1)
    builder.fileSet = (1, 0)
    // Virtual 0, 1, 2, 3 are stored in 40, 51, 52, 30; the file's data in the real partition.
    let places = [40, 51, 52, 30, UInt32.max].flatMap { Builder.little($0) }
    let old =
      places + [0] + ImageBytes.padded("*UDF Virtual Alloc Tbl", 31) + Builder.little(UInt32.max)
    var header = ImageBytes(count: 152)
    header.putLittle(152 as UInt16, at: 0)
    let table = Entry(type: isOld ? 0 : 248, data: isOld ? old : header.bytes + places)
    builder.put(table, block: UInt32(255 - behind))
    builder.put(256, builder.fileSetDescriptor(), block: 40, location: 0)
    builder.put(
      Entry(
        type: 4,
        data: Builder.identifier("file", 2, partition: 1)
          + Builder.identifier("inside", 3, partition: 1)
          + Builder.identifier("lost", 4, partition: 1)), block: 51, location: 1)
    builder.put(Entry(form: 1, data: Builder.long(4, 60, 0), size: 4), block: 52, location: 2)
    builder.put(Self.hello(), block: 30, location: 3)
    builder.put(Array("data".utf8), block: 60)
    return builder
  }

  @Test(arguments: [true, false], [0, 150]) func virtualPartition(isOld: Bool, behind: Int) throws {
    let disc = try UDFDisc(virtual(isOld: isOld, behind: behind))
    #expect(try disc.names() == ["file", "inside", "lost"])
    #expect(try disc.text("file") == "data")
    #expect(try disc.text("inside") == "hello")
    let complaint = UDFDisc.complaint { try disc.attributes("lost") }
    #expect(complaint.contains("block 4 is not in the virtual allocation table"))
    #expect(try disc.notes == [isOld ? "UDF 1.50" : "UDF 2.01"])
  }

  /// Where the last table cannot be read, one from long before it is.
  @Test(arguments: [true, false]) func olderVirtualTable(isOld: Bool) throws {
    var builder = virtual(isOld: isOld)
    builder.partitionBlocks = 4000
    #expect(try UDFDisc(builder).text("inside") == "hello")
    guard !isOld else { return }
    // Of two later ones the places cannot be read, and the sum is wrong.
    builder.put(Entry(type: 248, form: 1, data: Builder.long(2048, 9000), size: 2048), block: 3999)
    var header = ImageBytes(count: 172)
    header.putLittle(152 as UInt16, at: 0)
    let table = Entry(type: 248, data: header.bytes).descriptor(location: 3998)
    builder.put(table.dropLast() + [1], block: 3998)
    let disc = try UDFDisc(builder)
    #expect(try disc.text("inside") == "hello")
    #expect(try disc.notes.contains { $0.contains("what was written last may be missing") })
  }

  /// One whose sum is wrong is better than none.
  @Test func damagedVirtualTable() throws {
    var image = ImageBytes(virtual(isOld: false).built())
    image.put([1], at: (Builder.partitionSector + 255) * 2048 + 90)
    let disc = try UDFDisc(image.bytes)
    #expect(try disc.text("inside") == "hello")
    #expect(try disc.notes.contains { $0.contains("is damaged") })
  }

  @Test func sparablePartition() throws {
    var builder = Self.simple()
    builder.revision = 0x0201
    builder.maps = [Builder.sparableMap(packet: 4, size: 512, tables: [270, 271, 272])]
    // Packet 8 … 11 is at sector 500 now; the older table says otherwise.
    builder.put(Builder.sparingTable(sequence: 1, [(8, 400)], sector: 270), sector: 270)
    builder.put(
      Builder.sparingTable(sequence: 2, [(8, 500), (0xFFFF_FFF0, 7), (.max, 504)], sector: 271),
      sector: 271)
    let content = ImageBytes.pattern(12 * 2048, seed: 3)
    builder.put(Entry(form: 0, data: Builder.short(12 * 2048, 4), size: 12 * 2048), block: 2)
    builder.put(Array(content[..<(4 * 2048)]), block: 4)
    builder.put([UInt8](repeating: 0xEE, count: 4 * 2048), block: 8)
    builder.put(Array(content[(8 * 2048)...]), block: 12)
    builder.put(Array(content[(4 * 2048)..<(8 * 2048)]), sector: 500)
    let disc = try UDFDisc(builder)
    #expect(try disc.bytes("file") == content)
    #expect(try disc.notes.contains { $0.contains("sparing table in sector 272 is damaged") })
  }

  /// - Parameter isWhole: in one piece, which is all that 7-Zip reads.
  private func metadata(isWhole: Bool = false) -> Builder {
    var builder = Builder()
    builder.revision = 0x0250
    builder.maps = [Builder.plainMap(), Builder.metadataMap(main: 10, mirror: 11)]
    builder.root = (1, 1)
    builder.fileSet = (1, 0)
    // Blocks 0 and 1 of the metadata partition, a hole, and blocks 3 and 4.
    let pieces =
      Builder.short(4096, 100) + Builder.short(2048, 0, kind: 2) + Builder.short(4096, 120)
    let places = isWhole ? Builder.short(5 * 2048, 100) : pieces
    let third: UInt32 = isWhole ? 103 : 120
    let names =
      Builder.identifier("file", 3, partition: 1)
      + (isWhole ? [] : Builder.identifier("hole", 2, partition: 1))
    for (block, type) in [(10, 250), (11, 251)] as [(UInt32, UInt8)] {
      builder.put(
        Entry(type: type, form: 0, data: places, size: 5 * 2048).with { $0.isExtended = true },
        block: block)
    }
    builder.put(256, builder.fileSetDescriptor(), block: 100, location: 0)
    builder.put(
      Entry(
        type: 4, form: 0, data: Builder.short(UInt32(names.count), 4),
        size: UInt64(names.count)
      ).with { $0.isExtended = true }, block: 101, location: 1)
    builder.put(names, block: third + 1)
    builder.put(
      Entry(form: 1, data: Builder.long(4, 60, 0), size: 4).with { $0.isExtended = true },
      block: third, location: 3)
    builder.put(Array("data".utf8), block: 60)
    return builder
  }

  @Test(arguments: [false, true]) func metadataPartition(isDamaged: Bool) throws {
    var builder = metadata()
    if isDamaged { builder.put([UInt8](repeating: 0xEE, count: 2048), block: 10) }
    let disc = try UDFDisc(builder)
    #expect(try disc.names() == ["file", "hole"])
    #expect(try disc.text("file") == "data")
    #expect(
      UDFDisc.complaint { try disc.attributes("hole") }.contains(
        "block 2 of the metadata partition is not recorded"))
    #expect(try disc.notes.contains { $0.contains("its mirror is read") } == isDamaged)
  }

  /// Metadata that is stored twice: each block from the copy that is whole.
  @Test func mirroredMetadata() throws {
    var builder = Builder()
    builder.revision = 0x0250
    builder.maps = [Builder.plainMap(), Builder.metadataMap(main: 10, mirror: 11)]
    builder.root = (1, 1)
    builder.fileSet = (1, 0)
    let names = ["a", "b", "c"].map { Builder.identifier($0, 3, partition: 1) }
    let list = names.flatMap { $0 }
    for (file, type, start) in [(10, 250, 100), (11, 251, 200)] as [(UInt32, UInt8, UInt32)] {
      builder.put(
        Entry(type: type, form: 0, data: Builder.short(5 * 2048, start), size: 5 * 2048),
        block: file)
      builder.put(256, builder.fileSetDescriptor(), block: start, location: 0)
      builder.put(
        Entry(
          type: 4, form: 0, data: Builder.short(UInt32(list.count), 4), size: UInt64(list.count)),
        block: start + 1, location: 1)
      builder.put(Self.hello(), block: start + 3, location: 3)
      builder.put(list, block: start + 4)
    }
    #expect(try UDFDisc(builder).notes == ["UDF 2.50"])
    builder.put([UInt8](repeating: 0xEE, count: 2048), block: 103)
    builder.put([0xEE], block: 104, offset: names[0].count + 4)
    let disc = try UDFDisc(builder)
    let folder = try disc.tree.folder(disc.tree.root())
    #expect(folder.entries.map(\.name.text) == ["a", "b", "c"] && folder.damage == nil)
    #expect(folder.entries.allSatisfy { $0.kind == .file })
    #expect(try disc.text("b") == "hello")
    #expect(try disc.notes.contains { $0.contains("its mirror is read") })
    // Damaged in both, the folder ends there.
    builder.put([0xEE], block: 204, offset: names[0].count + names[1].count + 4)
    let both = try UDFDisc(builder)
    let rest = try both.tree.folder(both.tree.root())
    #expect(rest.entries.map(\.name.text) == ["a", "b"] && rest.damage != nil)
  }

  /// What is laid out here is what 7-Zip takes for the same thing.
  @Test(.enabled(if: HostTools.has("7zz"), "7zz is not installed (package 7zip)"))
  func asSevenZipHasThem() throws {
    for (name, builder, content) in [
      ("metadata", metadata(isWhole: true), "data"), ("plain", Self.simple(), "hello"),
    ] {
      try HostTools.withFolder { folder in
        try HostTools.write(builder.built(), to: folder + "/disc.img")
        let found = try HostTools.run(
          "7zz", ["x", "-so", "-tudf", folder + "/disc.img", "file"], accepting: [0, 1, 2])
        #expect(found == content, "\(name)")
      }
    }
  }
}

extension ImageBytes {
  /// `text` and zeros behind it.
  fileprivate static func padded(_ text: String, _ count: Int) -> [UInt8] {
    var bytes = ImageBytes(count: count)
    bytes.put(text, at: 0)
    return bytes.bytes
  }
}
