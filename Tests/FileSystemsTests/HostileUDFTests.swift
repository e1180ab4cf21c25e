import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = UDFBuilder
private typealias Entry = UDFBuilder.Entry

/// Volumes that readers fell to: each is opened, listed and read without a crash or a hang, and what is
/// damaged says so and where.
@Suite(.timeLimit(.minutes(10))) struct HostileUDFTests {
  /// A volume whose file `bad` has this entry in block 2, and whose file `good` can be read.
  private func volume(
    _ bad: Entry, _ change: (inout Builder) -> Void = { _ in }
  ) throws -> UDFDisc {
    var builder = Builder()
    builder.putRoot([Builder.identifier("bad", 2), Builder.identifier("good", 3)])
    builder.put(bad, block: 2)
    builder.put(Entry(data: Array("good".utf8)), block: 3)
    change(&builder)
    return try UDFDisc(builder)
  }

  private static func place(_ block: UInt32) -> String {
    "(at byte \((Builder.partitionSector + Int(block)) * 2048))"
  }

  private func expectOnly(_ disc: UDFDisc, _ complaint: String, at block: UInt32? = nil) {
    let found = UDFDisc.complaint { try disc.bytes("bad") }
    #expect(found.contains(complaint), "\(found)")
    if let block { #expect(found.contains(Self.place(block)), "\(found)") }
    #expect(UDFDisc.complaint { try disc.text("good") } == "")
  }

  @Test func indirectEntryToItself() throws {
    let disc = try volume(Entry(data: [])) {
      $0.put(259, [UInt8](repeating: 0, count: 20) + Builder.long(2048, 2), block: 2)
    }
    expectOnly(disc, "lead in a circle", at: 2)
    // Of strategy 4096, and by way of another.
    let pair = try volume(Entry(data: []).with { $0.strategy = 4096 }) {
      $0.put(259, [UInt8](repeating: 0, count: 20) + Builder.long(2048, 2), block: 5)
      $0.put(Entry(data: []).with { $0.strategy = 4096 }, block: 4)
      $0.put(259, [UInt8](repeating: 0, count: 20) + Builder.long(2048, 4), block: 3)
    }
    #expect(UDFDisc.complaint { try pair.bytes("bad") }.contains("lead in a circle"))
  }

  @Test func indirectEntriesWithoutEnd() throws {
    var builder = Builder()
    builder.partitionBlocks = 2000
    builder.putRoot([Builder.identifier("bad", 2)])
    for block in 2..<1500 as Range<UInt32> {
      builder.put(
        259, [UInt8](repeating: 0, count: 20) + Builder.long(2048, block + 1), block: block)
    }
    let disc = try UDFDisc(builder)
    #expect(UDFDisc.complaint { try disc.attributes("bad") }.contains("more than 1024 versions"))
  }

  @Test func partitionThatIsNot() throws {
    var builder = Builder()
    builder.putRoot([
      Builder.identifier("bad", 2, partition: 9), Builder.identifier("past", .max),
      Builder.identifier("behind", 256),
    ])
    let disc = try UDFDisc(builder)
    #expect(try disc.names() == ["bad", "past", "behind"])
    #expect(
      UDFDisc.complaint { try disc.attributes("bad") }.contains(
        "partition reference 9; the volume has 1 partitions (at byte"))
    for name in ["past", "behind"] {
      #expect(
        UDFDisc.complaint { try disc.attributes(name) }.contains("of a partition of 256 blocks"))
    }
    for root in [(partition: 7, block: 1), (partition: 0, block: 400)] as [(UInt16, UInt32)] {
      builder.root = (root.0, root.1)
      #expect(UDFDisc.complaint { try UDFDisc(builder).names() }.contains("(at byte"))
    }
  }

  @Test func extentsPastThePartition() throws {
    let data =
      Builder.long(2048, 3) + Builder.long(1 << 30 - 2048, 250) + Builder.long(2048, .max)
      + Builder.long(2048, 0, 500)
    let disc = try volume(Entry(form: 1, data: data, size: 1 << 30 + 4096))
    let window = try disc.tree.content(of: try disc.item("bad"))
    // What is there is read.
    #expect(try window.bytes(at: .start, count: 2048).count == 2048)
    #expect(try window.bytes(at: DiskOffset(2048), count: 6 * 2048).count == 6 * 2048)
    for offset in [2048 + 6 * 2048, 1 << 30, 1 << 30 + 2048] as [UInt64] {
      let complaint = UDFDisc.complaint { try window.bytes(at: DiskOffset(offset), count: 1) }
      #expect(complaint.contains("partition"), "\(complaint)")
    }
  }

  @Test func descriptorsThatDoNotReach() throws {
    let disc = try volume(Entry(form: 0, data: Builder.short(2048, 3), size: 1 << 40))
    let window = try disc.tree.content(of: try disc.item("bad"))
    #expect(
      UDFDisc.complaint { try window.bytes(at: DiskOffset(4096), count: 1) }.contains(
        "the places of only 2048 are recorded"))
    #expect(try disc.text("good") == "good")
  }

  @Test func allocationLoop() throws {
    let again = Builder.little(0 as UInt32) + Builder.little(16 as UInt32)
    let disc = try volume(Entry(form: 0, data: Builder.short(2048, 5, kind: 3), size: 1 << 40)) {
      $0.put(
        258, again + Builder.short(2048, 9) + Builder.short(2048, 6, kind: 3), block: 5)
      $0.put(258, again + Builder.short(2048, 9) + Builder.short(2048, 5, kind: 3), block: 6)
    }
    expectOnly(disc, "lead in a circle", at: 2)
    let nothing = try volume(Entry(form: 0, data: Builder.short(2048, 5, kind: 3), size: 1 << 40))
    expectOnly(nothing, "no allocation descriptors where a file's continue", at: 5)
    let long = try volume(Entry(form: 0, data: Builder.short(2048, 5, kind: 3), size: 5)) {
      $0.put(
        258, Builder.little(0 as UInt32) + Builder.little(UInt32.max) + Builder.short(5, 9),
        block: 5)
    }
    #expect(try long.bytes("bad") == [0, 0, 0, 0, 0])
  }

  @Test func entriesThatCannotBe() throws {
    expectOnly(
      try volume(Entry(data: [1], size: .max)), "a file of 18446744073709551615 bytes", at: 2)
    expectOnly(try volume(Entry(form: 5, data: [1])), "allocation descriptors of kind 5", at: 2)
    expectOnly(
      try volume(Entry(data: [1]).with { $0.dataLength = .max }), "of allocation descriptors in a",
      at: 2)
    expectOnly(
      try volume(Entry(data: [1]).with { $0.attributesLength = .max }), "bytes of attributes", at: 2
    )
    expectOnly(try volume(Entry(data: [])) { $0.put([1, 2, 3], block: 2) }, "no file entry", at: 2)
    // More inside the entry than is there.
    let short = try volume(Entry(data: [1], size: 100_000))
    #expect(
      UDFDisc.complaint { try short.bytes("bad") }.contains("the places of only 1 are recorded"))
    #expect(
      try volume(Entry(data: []).with { $0.blocks = .max }).attributes("bad").allocatedBytes
        == UInt64((Builder.partitionSector + 256) * 2048))
  }

  @Test func attributesThatCannotBe() throws {
    let header = Builder.descriptor(262, [24, 0, 0, 0, 0, 0, 0, 0], location: 2)
    for length in [0, 11, 12, .max] as [UInt32] {
      let attribute = Builder.little(12 as UInt32) + [1, 0, 0, 0] + Builder.little(length)
      let disc = try volume(
        Entry(type: 6, data: []).with { $0.attributes = header + attribute + [0, 0, 0] })
      #expect(try disc.attributes("bad").major == 0)
    }
  }

  @Test func directories() throws {
    func folder(_ data: [UInt8], size: UInt64? = nil) throws -> UDFDisc {
      try volume(Entry(type: 4, data: data, size: size))
    }
    let one = Builder.identifier("one", 3)
    let nothing = Builder.identifier([], 3)
    // No length at all is 40 bytes still.
    #expect(try folder(nothing + nothing + one).names("bad") == ["\\x", "\\x~2", "one"])
    // What comes before the damage is shown, and the folder says that it is damaged.
    for tail in [
      [UInt8](repeating: 0xEE, count: 60), Array(one.prefix(20)), [1], Array(one.dropLast(8)),
    ] {
      let disc = try folder(one + tail)
      let found = try disc.tree.folder(try disc.item("bad"))
      #expect(found.entries.map(\.name.text) == ["one"])
      #expect(found.damage.map { "\($0)" }?.contains("(at byte") == true)
    }
    let long = Builder.descriptor(
      257, [1, 0, 0, 255] + Builder.long(2048, 3) + [0xFF, 0xFF, 0, 0], location: 0)
    #expect(
      UDFDisc.complaint { try folder(long).names("bad") }.contains("ends inside a file identifier"))
    #expect(
      UDFDisc.complaint { try folder(one, size: 1 << 40).names("bad") }.contains(
        "a directory of 1099511627776 bytes"))
    // A megabyte of which only its first bytes are recorded.
    let disc = try folder(one, size: 1 << 20)
    #expect(try disc.names("bad") == ["one"])
    #expect(try disc.tree.folder(try disc.item("bad")).damage != nil)
  }

  @Test func folderInItself() throws {
    let disc = try volume(
      Entry(
        type: 4,
        data: Builder.identifier("again", 2, characteristics: 2)
          + Builder.identifier("up", 1, characteristics: 2)))
    #expect(try disc.item("bad/again/again") == disc.item("bad"))
    #expect(try disc.item("bad/up") == disc.tree.root())
    #expect(try disc.paths().map(\.path) == ["/bad", "/bad/again", "/bad/up", "/good"])
  }

  /// Names in one extent that a folder repeats.
  @Test func folderWithoutEnd() throws {
    let disc = try volume(
      Entry(
        type: 4, form: 0, data: (0..<10).flatMap { _ in Builder.short(40 * 2048, 10) },
        size: 10 * 40 * 2048)
    ) { builder in
      let list = (0..<2048).flatMap { _ in Builder.identifier([], 3, characteristics: 4) }
      builder.put(list, block: 10)
    }
    #expect(try disc.names("bad") == [])
  }

  @Test func links() throws {
    func link(_ data: [UInt8], size: UInt64? = nil) throws -> UDFDisc {
      try volume(Entry(type: 12, data: data, size: size))
    }
    for (data, complaint) in [
      ([], "leads nowhere"), ([5], "outside the 1 bytes"),
      ([5, 9, 0, 0, 8], "outside the 5 bytes"),
      ([77, 0, 0, 0], "a path component of type 77"),
    ] as [([UInt8], String)] {
      let found = UDFDisc.complaint { try link(data).target("bad") }
      #expect(found.contains(complaint), "\(found)")
    }
    #expect(
      UDFDisc.complaint { try link([], size: 1 << 30).target("bad") }.contains(
        "a symbolic link of 1073741824 bytes"))
    let many = (0..<40).flatMap { _ in [5, 40, 0, 0, 8] + [UInt8](repeating: 0xFC, count: 39) }
    #expect(try link(many).attributes("bad").size == UInt64(40 * (78 + 1) - 1))
  }

  // MARK: The volume's own structures

  private func simple() -> Builder {
    var builder = Builder()
    builder.putRoot([Builder.identifier("file", 2)])
    builder.put(Entry(data: Array("hello".utf8)), block: 2)
    return builder
  }

  private func opened(_ builder: Builder) -> String {
    UDFDisc.complaint { try UDFDisc(builder).names() }
  }

  @Test func descriptorSequenceLoop() throws {
    var image = ImageBytes(simple().built())
    for start in [Builder.mainSector, Builder.reserveSector] {
      let again = Builder.little(9 as UInt32) + Builder.little(8 * 2048 as UInt32)
      image.put(
        Builder.descriptor(3, again + Builder.little(UInt32(start)), location: UInt32(start + 2)),
        at: (start + 2) * 2048)
    }
    let disc = try UDFDisc(image.bytes)
    #expect(try disc.text("file") == "hello")
    #expect(try disc.notes.contains { $0.contains("does not end; 256 are read") })
    // With nothing in it but the pointer.
    for start in [Builder.mainSector, Builder.reserveSector] {
      image.put(
        Builder.descriptor(
          3,
          Builder.little(9 as UInt32) + Builder.little(UInt32.max) + Builder.little(UInt32(start)),
          location: UInt32(start)), at: start * 2048)
    }
    let window = try Disk.holding(image.bytes).whole
    #expect(
      UDFDisc.complaint { try FileSystemRegistry.open(Volume(window)) }.contains(
        "neither volume descriptor sequence"))
  }

  @Test func sequencesPastTheEnd() throws {
    var image = ImageBytes(simple().built())
    let far = Builder.little(UInt32.max) + Builder.little(UInt32.max)
    image.put(Builder.descriptor(2, far + far, location: 256), at: 256 * 2048)
    let window = try Disk.holding(image.bytes).whole
    #expect(
      UDFDisc.complaint { try FileSystemRegistry.open(Volume(window)) }.contains(
        "neither volume descriptor sequence"))
  }

  @Test func partitionMaps() throws {
    func maps(_ maps: [[UInt8]]) -> String {
      var builder = simple()
      builder.maps = maps
      return opened(builder)
    }
    #expect(maps([]).contains("0 partition maps"))
    #expect(maps(Array(repeating: Builder.plainMap(), count: 5)).contains("5 partition maps"))
    #expect(maps([[1, 0, 0, 0, 0, 0]]).contains("a partition map of type 1 and 0 bytes"))
    #expect(maps([[3, 6, 0, 0, 0, 0]]).contains("a partition map of type 3 and 6 bytes"))
    #expect(maps([Builder.plainMap(number: 5)]).contains("there is no partition 5"))
    #expect(maps([Builder.map("*Other", [])]).contains("an unknown kind, *Other"))
    #expect(maps([Builder.virtualMap()]).contains("there is no virtual allocation table"))
    #expect(
      maps([Builder.metadataMap(main: 100, mirror: 101)]).contains("there is no file entry here"))
    #expect(
      maps([Builder.sparableMap(packet: 0, size: 512, tables: [270])]).contains(
        "packet length of 0"))
    #expect(
      maps([Builder.sparableMap(packet: 3, size: 512, tables: [270])]).contains(
        "packet length of 3"))
    #expect(
      maps([Builder.sparableMap(size: .max, tables: [270])]).contains(
        "a sparing table of 4294967295 bytes"))
    #expect(maps([Builder.sparableMap(size: 512, tables: [.max, 5])]) == "")
  }

  @Test func blockSizes() throws {
    for size in [0, 1, 2047, 8192, .max] as [UInt32] {
      let builder = simple()
      var image = ImageBytes(builder.built())
      var body = ImageBytes(builder.logicalVolume(sequence: 2))
      body.putLittle(size, at: 196)
      for start in [Builder.mainSector, Builder.reserveSector] {
        image.put(
          Builder.descriptor(6, body.bytes, location: UInt32(start + 1)), at: (start + 1) * 2048)
      }
      let found = UDFDisc.complaint { try UDFDisc(image.bytes).names() }
      #expect(found.contains("blocks of \(size) bytes"))
    }
  }

  /// 65,535 entries, every other packet moved, in a table of half a megabyte.
  @Test func sparingTableOfManyEntries() throws {
    var builder = simple()
    let entries = (0..<65535 as Range<UInt32>).map { ($0 * 2, 400 + $0 % 8) }
    builder.maps = [Builder.sparableMap(packet: 1, size: 1 << 20, tables: [600])]
    builder.partitionBlocks = 1000
    builder.put(Builder.sparingTable(sequence: 1, entries, sector: 600), sector: 600)
    // Block 0 is at sector 400 now, block 2 at 401, and so on.
    builder.put(Builder.descriptor(256, builder.fileSetDescriptor(), location: 0), sector: 400)
    builder.put(Entry(data: Array("moved".utf8)).descriptor(location: 2), sector: 401)
    #expect(try UDFDisc(builder).text("file") == "moved")
  }

  /// A metadata partition in more pieces than any writer makes.
  @Test func metadataInManyPieces() throws {
    var builder = simple()
    builder.partitionBlocks = 600
    builder.maps = [Builder.plainMap(), Builder.metadataMap(main: 10, mirror: 10)]
    builder.root = (1, 1)
    let pieces = (0..<250 as Range<UInt32>).flatMap { Builder.short(2048, 20 + $0 % 2 * 5) }
    for block in 100..<400 as Range<UInt32> {
      let data = pieces + Builder.short(2048, block + 1, kind: 3)
      builder.put(
        258, Builder.little(0 as UInt32) + Builder.little(UInt32(data.count)) + data, block: block)
    }
    builder.put(
      Entry(type: 250, form: 0, data: Builder.short(2048, 100, kind: 3), size: 1 << 40), block: 10)
    #expect(opened(builder).contains("a file in more than 65536 pieces"))
  }

  /// Tables that say that they are in the partition that they make.
  @Test func tablesInThemselves() throws {
    var builder = simple()
    builder.maps = [Builder.plainMap(), Builder.virtualMap()]
    builder.root = (1, 1)
    builder.put(Entry(type: 248, form: 1, data: Builder.long(2048, 0, 1), size: 2048), block: 255)
    #expect(opened(builder).contains("there is no virtual allocation table"))
    builder = simple()
    builder.maps = [Builder.plainMap(), Builder.metadataMap(main: 10, mirror: 10)]
    builder.root = (1, 1)
    builder.put(Entry(type: 250, form: 1, data: Builder.long(2048, 0, 1), size: 2048), block: 10)
    #expect(opened(builder).contains("a metadata file that is in another partition"))
    builder.put(
      Entry(type: 250, form: 1, data: Builder.long(2048, 0, 1, kind: 3), size: 2048), block: 10)
    #expect(opened(builder).contains("a partition's own table is in a"))
  }

  @Test func fileSetLoop() throws {
    var builder = simple()
    var body = ImageBytes(builder.fileSetDescriptor())
    body.put(Builder.long(.max >> 2, 20), at: 432)
    builder.fileSet = (0, 20)
    var image = ImageBytes(builder.built())
    image.put(
      Builder.descriptor(256, body.bytes, location: 20),
      at: (Builder.partitionSector + 20) * 2048)
    #expect(try UDFDisc(image.bytes).text("file") == "hello")
  }

  /// Bytes changed at random: nothing crashes, and nothing takes long.
  @Test func noise() throws {
    var builder = Builder()
    builder.revision = 0x0250
    builder.maps = [
      Builder.sparableMap(packet: 4, size: 512, tables: [270]),
      Builder.metadataMap(main: 10, mirror: 11),
    ]
    builder.put(Builder.sparingTable(sequence: 1, [(40, 300)], sector: 270), sector: 270)
    for block in [10, 11] as [UInt32] {
      builder.put(
        Entry(type: 250, form: 0, data: Builder.short(8 * 2048, 20), size: 8 * 2048), block: block)
    }
    builder.root = (1, 1)
    builder.fileSet = (1, 0)
    builder.put(256, builder.fileSetDescriptor(), block: 20, location: 0)
    builder.put(
      Entry(
        type: 4,
        data: Builder.identifier("a", 2, partition: 1) + Builder.identifier("b", 3, partition: 1)
          + Builder.identifier("c", 1, partition: 1, characteristics: 2)
          + Builder.identifier("d", 4, partition: 1)), block: 21, location: 1)
    builder.put(Entry(form: 1, data: Builder.long(5000, 38), size: 5000), block: 22, location: 2)
    builder.put(
      Entry(type: 12, data: [5, 2, 0, 0, 8, 0x61, 5, 2, 0, 0, 8, 0x62]), block: 23, location: 3)
    builder.put(
      Entry(form: 1, data: Builder.long(2048, 60, kind: 3), size: 5000), block: 24, location: 4)
    builder.put(
      258, Builder.little(0 as UInt32) + Builder.little(16 as UInt32) + Builder.long(5000, 38),
      block: 60)
    let image = builder.built()
    #expect(try UDFDisc(image).paths().count == 4)
    // Sectors that hold something, with the tags' own sums made right again half of the time.
    let sectors = [256, 257, 258, 270, 290, 300, 301, 302, 303, 304, 340]
    var random = SeededRandom(seed: 20)
    for _ in 0..<Soak.rounds(100) {
      var copy = ImageBytes(image)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let sector = sectors.randomElement(using: &random) ?? 256
        let place = sector * 2048 + Int.random(in: 0..<520, using: &random)
        let values: [UInt8] = [
          0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, .random(in: 0...255, using: &random),
        ]
        copy.put([values.randomElement(using: &random) ?? 0], at: place)
        if Bool.random(using: &random) {
          var tag = Array(copy.bytes[sector * 2048..<sector * 2048 + 16])
          tag[4] = 0
          copy.put([tag.reduce(0, &+)], at: sector * 2048 + 4)
        }
      }
      guard let disc = try? UDFDisc(copy.bytes), let found = try? disc.paths() else { continue }
      for (_, entry) in found {
        _ = try? disc.tree.attributes(of: entry.item)
        _ = try? disc.tree.target(of: entry.item)
        if let window = try? disc.tree.content(of: entry.item) {
          _ = try? window.bytes(at: .start, count: Int(min(window.size, 1 << 16)))
        }
      }
    }
  }
}
