import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = ISO9660Builder
private typealias Record = ISO9660Builder.Record

/// Images that readers fell to: each is opened, listed and read without a crash or a hang, and what is
/// damaged says so and where.
@Suite(.timeLimit(.minutes(Soak.isOn ? 60 : 10))) struct HostileISO9660Tests {
  private func volume(
    _ records: [Record] = [], _ add: (inout Builder) -> Void = { _ in }
  ) throws -> ISO9660Volume {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, own: RockRidgeTests.own, records)
    add(&builder)
    return try ISO9660Volume(builder.built())
  }

  private func file(_ name: String, _ systemUse: [UInt8]...) -> Record {
    Record("X.;1", block: 30, length: 7).with(SystemUse.name(name) + systemUse.flatMap { $0 })
  }

  @Test func continuationLoop() throws {
    let again = SystemUse.continuation(block: 40, length: 28)
    let volume = try volume([
      file("self", again), Record("PLAIN", block: 30, length: 1).with(again),
    ]) { $0.put(again, atBlock: 40) }
    #expect(try volume.names() == ["self", "plain"])
    for name in ["self", "plain"] {
      let error = try #require(message { try volume.attributes(name) })
      #expect(error.contains("a loop") && error.contains("(at byte 81920)"))
      #expect(message { try volume.bytes(name) }?.contains("a loop") == true)
    }
  }

  @Test func continuationsWithoutEnd() throws {
    let volume = try volume([file("long", SystemUse.continuation(block: 40, length: 28))]) {
      builder in
      for block in 40..<1000 as Range<UInt32> {
        builder.put(SystemUse.continuation(block: block + 1, length: 28), atBlock: block)
      }
    }
    #expect(message { try volume.attributes("long") }?.contains("512 continuation areas") == true)
  }

  /// A mebibyte of entries without a name, which thousands of records share: it is not read for each.
  @Test func continuationsThatManyRecordsShare() throws {
    let count = 5000
    let record = Record("F", block: 30, length: 0)
      .with(SystemUse.continuation(block: 200, length: 1 << 20))
    let volume = try volume([.folder("MANY", block: 800, sectors: 200)]) { builder in
      builder.put((0..<1 << 18).flatMap { _ in SystemUse.entry("ZZ", []) }, atBlock: 200)
      builder.folder(
        at: 800, sectors: 200, (0..<count).map { _ in record })
    }
    #expect(try volume.names("many").count == count)
  }

  /// Each of them would be looked through to its end.
  @Test func manyFoldersForFoldersThatAreTooDeep() throws {
    let moved = Record.folder("RR_MOVED", block: 200, sectors: 400)
      .with(SystemUse.name("rr_moved"))
    let relocated = Record.folder("D", block: 700).with(SystemUse.relocated)
    var builder = Builder()
    builder.folder(
      at: Builder.rootBlock, sectors: 120, own: RockRidgeTests.own,
      (0..<3000).map { _ in moved })
    builder.folder(at: 200, sectors: 400, (0..<15_000).map { _ in relocated })
    let volume = try ISO9660Volume(builder.built())
    #expect(try volume.names().count == 2999)
  }

  @Test func continuationsThatCannotBe() throws {
    let volume = try volume([
      file("far", SystemUse.continuation(block: .max, offset: .max, length: 28)),
      file("large", SystemUse.continuation(block: 40, length: .max)),
      file("entry", SystemUse.entry("CE", [1, 2, 3])),
    ])
    #expect(try volume.names() == ["far", "large", "entry"])
    #expect(message { try volume.attributes("far") }?.contains("the volume ends") == true)
    #expect(message { try volume.attributes("large") }?.contains("4294967295 bytes") == true)
    #expect(message { try volume.attributes("entry") }?.contains("outside the 7 bytes") == true)
  }

  @Test func systemUseEntriesOfNoLength() throws {
    let volume = try volume([
      file("zero", [0x50, 0x58, 0, 1]), file("past", [0x50, 0x58, 200, 1]),
      file("short", SystemUse.entry("PX", [1])), file("name", SystemUse.entry("SL", [0, 0, 9])),
      file("padded", [0, 0, 0, 0, 0, 0]),
    ])
    #expect(try volume.names() == ["zero", "past", "short", "name", "padded"])
    #expect(message { try volume.attributes("zero") }?.contains("entry of 0 bytes") == true)
    #expect(message { try volume.attributes("past") }?.contains("entry of 200 bytes") == true)
    #expect(message { try volume.attributes("short") } != nil)
    #expect(message { try volume.attributes("name") } != nil)
    #expect(try volume.attributes("padded").size == 7)
  }

  /// What is before and behind the damage is listed.
  @Test(arguments: [1, 33, 255])
  func recordsOfAWrongLength(_ length: UInt8) throws {
    var builder = Builder()
    let own = [
      Record([0], block: 24, length: 6144, flags: 2), Record([1], block: 24, length: 6144),
    ]
    var root = ImageBytes(count: 6144)
    root.put(own.flatMap(\.bytes) + Record("BEFORE", block: 30, length: 0).bytes, at: 0)
    // For 255 near the sector's end, so that the record reaches past it.
    let place = length == 255 ? 1900 : 200
    if length == 255 {
      var filler = 108
      while filler + 38 <= place {
        root.put(Record("FILL\(filler)", block: 30, length: 0).bytes, at: filler)
        filler += Record("FILL\(filler)", block: 30, length: 0).bytes.count
      }
      root.put([length], at: filler)
    } else {
      root.put([length], at: 108)
    }
    root.put(Record("BEHIND", block: 30, length: 0).bytes, at: 2048)
    builder.put(root.bytes, atBlock: 24)
    let volume = try ISO9660Volume(builder.built())
    let folder = try volume.tree.folder(try volume.tree.root())
    #expect(folder.entries.first?.name.text == "before")
    #expect(folder.entries.last?.name.text == "behind")
    #expect(folder.damage?.message.contains("a directory record of \(length) bytes") == true)
    #expect(folder.damage?.offset != nil)
    #expect(message { try volume.attributes("absent") }?.contains("directory record") == true)
  }

  @Test func namesThatReachPastTheirRecord() throws {
    var builder = Builder()
    var record = Record("NAME", block: 30, length: 0).bytes
    record[32] = 200
    builder.folder(at: 24, [])
    let root = builder.built().bytes
    var bytes = root
    bytes.replaceSubrange(24 * 2048 + 68..<24 * 2048 + 68 + record.count, with: record)
    let volume = try ISO9660Volume(
      BuiltFile(size: UInt64(bytes.count), pieces: [(at: 0, bytes: bytes)]))
    #expect(message { try volume.names() }?.contains("a name of 200 bytes") == true)
  }

  /// The items of a circle have the same number, by which `find` knows them.
  @Test func foldersInACircle() throws {
    let volume = try volume([Record.folder("DOWN", block: 26)]) {
      $0.folder(
        at: 26,
        [
          .folder("ROOT", block: Builder.rootBlock), .folder("SELF", block: 26),
          Record("CHILD", block: 30, length: 0).with(SystemUse.child(Builder.rootBlock)),
        ])
    }
    #expect(try volume.item("down/root") == volume.tree.root())
    #expect(try volume.item("down/child") == volume.tree.root())
    #expect(try volume.item("down/self") == volume.item("down"))
    #expect(try volume.item("down/self/self/self") == volume.item("down"))
    #expect(try volume.paths() == ["/down", "/down/root", "/down/self", "/down/child"])
  }

  @Test func pathsThatAreVeryDeep() throws {
    let depth: UInt32 = 5000
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [.folder("D", block: 100)])
    var levels = ImageBytes(count: Int(depth + 1) * 2048)
    for level in 0...depth {
      let inner =
        level < depth ? Record.folder("D", block: 101 + level) : Record("END", block: 30, length: 0)
      levels.put(
        Builder.folder(at: 100 + level, parent: 99 + level, [inner]), at: Int(level) * 2048)
    }
    builder.put(levels.bytes, atBlock: 100)
    let tree = try ISO9660Volume(builder.built()).tree
    var folder = try tree.root()
    for _ in 0...depth {
      folder = try #require(try tree.lookUp(FileName("d"), in: folder)).item
    }
    #expect(try tree.folder(folder).entries.map(\.name.text) == ["end"])
  }

  @Test func foldersThatAreNone() throws {
    let volume = try volume([
      .folder("DATA", block: 30), .folder("FAR", block: .max),
      Record("CHILD", block: 30, length: 0).with(SystemUse.child(.max)),
      Record.folder("HUGE", block: 27),
    ]) {
      $0.put(ImageBytes.pattern(2048, seed: 1), atBlock: 30)
      $0.put(Record([0], block: 27, length: .max, flags: 2).bytes, atBlock: 27)
    }
    #expect(try volume.names() == ["data", "far", "child", "huge"])
    for name in ["data", "far", "child", "huge"] {
      #expect(message { try volume.names(name) } != nil)
    }
    #expect(message { try volume.names("huge") }?.contains("at most 134217728") == true)
    #expect(message { try volume.names("far") }?.contains("the volume ends") == true)
  }

  @Test func aLargeFolderOfNothing() throws {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [.folder("EMPTY", block: 100)])
    builder.put(Record([0], block: 100, length: 128 << 20, flags: 2).bytes, atBlock: 100)
    let volume = try ISO9660Volume(builder.built(size: 256 << 20))
    #expect(try volume.names("empty").isEmpty)
  }

  /// Each look at a bad sector of a real disk takes seconds.
  @Test func aBadSectorIsNotReadForEachRecordBesideIt() throws {
    var builder = Builder()
    let files = (0..<250).map { Record("FILE\($0)", block: 60, length: 0) }
    builder.folder(at: Builder.rootBlock, sectors: 8, files)
    let storage = FaultyStorage(builder.built().storage(path: "disc.iso"))
    let bad = UInt64(Builder.rootBlock + 3) * 2048..<UInt64(Builder.rootBlock + 4) * 2048
    storage.damage(bad)
    let tree = try ISO9660Volume(storage: storage).tree
    let folder = try tree.folder(try tree.root())
    #expect(folder.entries.count > 190)
    #expect(folder.entries.last?.name.text == "file249")
    #expect(folder.damage?.message.isEmpty == false)
    let touching = storage.reads.filter {
      $0.offset < bad.upperBound && $0.offset + UInt64($0.count) > bad.lowerBound
    }
    #expect(touching.count < 10)
  }

  @Test func filesPastTheEndFailOnlyThere() throws {
    let volume = try volume([
      Record("HALF", block: 63, length: 4096), Record("FAR", block: .max, length: .max),
    ])
    let window = try volume.tree.content(of: try volume.item("half"))
    #expect(try window.bytes(at: .start, count: 2048).count == 2048)
    #expect(
      message { try window.bytes(at: .start, count: 2049) }?.contains("the volume ends") == true)
    #expect(
      message {
        try volume.tree.content(of: try volume.item("far")).bytes(at: .start, count: 1)
      }?.contains("the volume ends") == true)
  }

  @Test func sectionsWithoutEnd() throws {
    let volume = try volume([Record("LAST", block: 30, length: 1, flags: 0x80)])
    #expect(try volume.names() == ["last"])
    #expect(message { try volume.attributes("last") }?.contains("directory record") == true)
  }

  @Test func namesThatLeadOut() throws {
    let volume = try volume([
      file(".."), file("."), file("../../etc/passwd"), file("a/b"), file("nul\0end"),
      file("same"), file("same"),
    ])
    #expect(
      try volume.names() == [
        "\\x2e\\x2e", "\\x2e", "..\\x2f..\\x2fetc\\x2fpasswd", "a\\x2fb", "nul\\x00end", "same",
        "same~2",
      ])
  }

  @Test func linksThatLeadToThemselvesOrTooFar() throws {
    let long = SystemUse.link([(1, String(repeating: "x", count: 150))], flags: 1)
    let areas = (0..<40).map { _ in long }
    let volume = try volume([
      file("loop", SystemUse.attributes(mode: 0o120777), SystemUse.link([(0, "loop")])),
      file("far", SystemUse.continuation(block: 40, length: UInt32(long.count * 40))),
      file("nul", SystemUse.link([(0, "a\0b")])),
    ]) { $0.put(areas.flatMap { $0 }, atBlock: 40) }
    #expect(try volume.target("loop") == "loop")
    #expect(message { try volume.target("far") }?.contains("4095 bytes") == true)
    #expect(message { try volume.target("nul") }?.contains("NUL") == true)
  }

  @Test(arguments: [0, 3, 4096, 0xFFFF] as [UInt16])
  func blockSizesThatCannotBe(_ size: UInt16) throws {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, [])
    var bytes = builder.built().bytes
    bytes.replaceSubrange(16 * 2048 + 128..<16 * 2048 + 132, with: Builder.both(size))
    let volume = try ISO9660Volume(
      BuiltFile(size: UInt64(bytes.count), pieces: [(at: 0, bytes: bytes)]))
    let error = try #require(message { try volume.names() })
    if size.nonzeroBitCount == 1 {
      #expect(error.contains("a block size of \(size) bytes") && error.contains("(at byte 32896)"))
    } else {
      // It is not even known as ISO 9660, by blkid neither.
      #expect(error.contains("no file system"))
    }
  }

  @Test func rootsThatAreNone() throws {
    for root in [30, 63, UInt32.max] {
      var builder = Builder()
      builder.rootBlock = root
      let volume = try ISO9660Volume(builder.built())
      #expect(message { try volume.names() } != nil)
    }
  }

  /// Random bytes changed in a volume that has everything: whatever happens, it ends.
  @Test func damageOfEveryKind() throws {
    var builder = Builder()
    builder.bootRecord(catalogue: 22)
    builder.supplementary(root: 26)
    let z = ZisofsTests.first(size: 5, [ZisofsTests.zlib(Array("hello".utf8))])
    builder.folder(
      at: Builder.rootBlock, own: RockRidgeTests.own,
      [
        Record.folder("SUB", block: 25).with(SystemUse.name("sub")),
        file("z", SystemUse.zisofs(size: 5)),
        file("link", SystemUse.link([(8, ""), (0, "a")])),
        file("more", SystemUse.continuation(block: 28, length: 100)),
        Record("MULTI", block: 30, length: 100, flags: 0x80), Record("MULTI", block: 31, length: 9),
      ])
    builder.folder(at: 25, [Record("IN", block: 30, length: 5)])
    builder.folder(at: 26, [Record([0, 0x41], block: 30, length: 5)])
    builder.put(SystemUse.attributes(mode: 0o100644), atBlock: 28)
    builder.put(z, atBlock: 30)
    let sound = builder.built().bytes
    var random = SeededRandom(seed: 7)
    for round in 0..<Soak.rounds(300) {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...12, using: &random) {
        let sector = [16, 17, 18, 22, 24, 24, 24, 25, 26, 28, 30].randomElement(using: &random)!
        let place = sector * 2048 + Int.random(in: 0..<420, using: &random)
        bytes[place] = [0, 1, 0x7F, 0xFF, .random(in: 0...255, using: &random)].randomElement(
          using: &random)!
      }
      let volume = try ISO9660Volume(
        BuiltFile(size: UInt64(bytes.count), pieces: [(at: 0, bytes: bytes)]),
        names: [nil, nil, .iso, .joliet][round % 4])
      // Errors are as good as answers here.
      guard let paths = try? volume.paths() else { continue }
      for path in paths.prefix(50) {
        _ = try? volume.attributes(path)
        _ = try? volume.target(path)
        guard let item = try? volume.item(path) else { continue }
        _ = try? volume.tree.extendedAttributes(of: item)
        guard let window = try? volume.tree.content(of: item) else { continue }
        _ = try? window.bytes(at: .start, count: Int(min(window.size, 1 << 16)))
      }
    }
  }
}
