import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = ISO9660Builder
private typealias Record = ISO9660Builder.Record

@Suite struct RockRidgeTests {
  static let own = SystemUse.sharing() + SystemUse.attributes(mode: 0o40755) + SystemUse.rockRidge

  private func volume(
    _ records: [Record], own: [UInt8] = RockRidgeTests.own,
    _ add: (inout Builder) -> Void = { _ in }
  ) throws -> ISO9660Volume {
    var builder = Builder()
    builder.folder(at: Builder.rootBlock, own: own, records)
    add(&builder)
    return try ISO9660Volume(builder.built())
  }

  private func file(_ name: String, _ systemUse: [UInt8]...) -> Record {
    Record("X.;1", block: 30, length: 7).with(SystemUse.name(name) + systemUse.flatMap { $0 })
  }

  @Test func namesModesAndOwners() throws {
    let volume = try volume([
      file("Mixed Case.tar.gz", SystemUse.attributes(mode: 0o104751)),
      Record("NONAME.;1", block: 30, length: 0),
      file("pipe", SystemUse.attributes(mode: 0o10644)),
      file("socket", SystemUse.attributes(mode: 0o140644)),
      file("tty", SystemUse.attributes(mode: 0o20620), SystemUse.device(4, 64)),
      file("sda1", SystemUse.attributes(mode: 0o60660), SystemUse.device(0, 0x801)),
      file("big", SystemUse.attributes(mode: 0o20620), SystemUse.device(0, 0x1234_5678)),
      // No folder can be made of a file's record.
      file("fake", SystemUse.attributes(mode: 0o40755)),
    ])
    #expect(
      try volume.names() == [
        "Mixed Case.tar.gz", "noname", "pipe", "socket", "tty", "sda1", "big", "fake",
      ])
    let attributes = try volume.attributes("Mixed Case.tar.gz")
    #expect(attributes.permissions == 0o4751)
    #expect(attributes.user == 1000)
    #expect(attributes.group == 100)
    #expect(attributes.size == 7)
    #expect(try volume.attributes("pipe").kind == .pipe)
    #expect(try volume.attributes("socket").kind == .socket)
    #expect(try volume.attributes("tty").kind == .characterDevice)
    #expect(try volume.attributes("tty").device == (4, 64))
    #expect(try volume.attributes("sda1").kind == .blockDevice)
    #expect(try volume.attributes("sda1").device == (8, 1))
    // As glibc's makedev(0x234 ^ ..., …): 12 bits of major over 8 of minor, the rest of minor above.
    #expect(try volume.attributes("big").device == (0x456, 0x12378))
    #expect(try volume.attributes("fake").kind == .file)
    #expect(try volume.attributes("").permissions == 0o755)
    #expect(try volume.tree.fileSystem().notes == ["names: Rock Ridge"])
  }

  @Test func namesInSeveralEntriesAndAreas() throws {
    let long = String(repeating: "n", count: 120)
    let rest =
      SystemUse.name(String(repeating: "m", count: 130)) + SystemUse.attributes(mode: 0o100600)
    let volume = try volume([
      Record("LONG", block: 30, length: 0).with(
        SystemUse.name(long, flags: 1),
        SystemUse.continuation(block: 40, offset: 100, length: UInt32(rest.count))),
      Record("SELF", block: 30, length: 0).with(SystemUse.name("", flags: 2)),
    ]) { $0.put([UInt8](repeating: 0xFF, count: 100) + rest, atBlock: 40) }
    let name = long + String(repeating: "m", count: 130)
    #expect(try volume.names() == [name, "self"])
    #expect(try volume.attributes(name).permissions == 0o600)
  }

  @Test func entriesAreFoundBehindWhatAreSkipped() throws {
    let padding = [UInt8](repeating: 0xEE, count: 14)
    // CD-ROM XA's attributes are before the root's first entry too.
    let xa = try volume(
      [Record("A", block: 30, length: 0).with(padding + SystemUse.name("skipped"))],
      own: padding + SystemUse.sharing(skip: 14) + SystemUse.rockRidge)
    #expect(try xa.names() == ["skipped"])
    let none = try volume([file("unused")], own: SystemUse.rockRidge)
    #expect(try none.names() == ["x"])
  }

  @Test func times() throws {
    func short(_ year: UInt8) -> [UInt8] { [year, 1, 1, 0, 0, 0, 0] }
    let long = Array("2001090901464099".utf8) + [0]
    let volume = try volume([
      file("short", SystemUse.entry("TF", [0x0F] + short(70) + short(71) + short(72) + short(73))),
      file("long", SystemUse.entry("TF", [0x82] + long)),
      file("changed", SystemUse.entry("TF", [0x05] + short(74) + short(72))),
    ])
    let year: Int64 = 365 * 86_400
    let attributes = try volume.attributes("short")
    #expect(attributes.created == FileTime(seconds: 0))
    #expect(attributes.modified == FileTime(seconds: year))
    #expect(attributes.accessed == FileTime(seconds: 2 * year))
    #expect(attributes.changed == FileTime(seconds: 3 * year + 86_400))
    #expect(
      try volume.attributes("long").modified
        == FileTime(seconds: 1_000_000_000, nanoseconds: 990_000_000))
    #expect(try volume.attributes("changed").changed == FileTime(seconds: 4 * year + 86_400))
    #expect(try volume.attributes("changed").modified == FileTime(seconds: 1_709_206_215))
  }

  @Test func links() throws {
    func link(_ name: String, _ parts: [UInt8]...) -> Record {
      Record(name, block: 30, length: 0).with(
        SystemUse.name(name), SystemUse.attributes(mode: 0o120777), parts.flatMap { $0 })
    }
    let volume = try volume([
      link("relative", SystemUse.link([(4, ""), (2, ""), (0, "a"), (0, "b c")])),
      link("absolute", SystemUse.link([(8, ""), (0, "usr"), (0, "bin")])),
      link("root", SystemUse.link([(8, "")])),
      link(
        "cut", SystemUse.link([(0, "one"), (1, "tw")], flags: 1),
        SystemUse.link([(0, "o")], flags: 1), SystemUse.link([(0, "three")])),
      link("nowhere"),
    ])
    #expect(try volume.target("relative") == ".././a/b c")
    #expect(try volume.attributes("relative").size == 10)
    #expect(try volume.attributes("relative").kind == .link)
    #expect(try volume.target("absolute") == "/usr/bin")
    #expect(try volume.target("root") == "/")
    #expect(try volume.target("cut") == "one/two/three")
    #expect(message { try volume.target("nowhere") }?.contains("leads nowhere") == true)
  }

  @Test func foldersThatAreTooDeepAreInTheirPlace() throws {
    let volume = try volume([
      Record.folder("RR_MOVED", block: 26).with(SystemUse.name("rr_moved")),
      Record("DEEP", block: 27, length: 0).with(SystemUse.name("deep") + SystemUse.child(27)),
    ]) {
      $0.folder(
        at: 26,
        [Record.folder("DEEP", block: 27).with(SystemUse.name("deep") + SystemUse.relocated)])
      $0.folder(
        at: 27, own: SystemUse.attributes(mode: 0o40711), [Record("IN", block: 30, length: 0)])
    }
    #expect(try volume.names() == ["deep"])
    #expect(try volume.names("deep") == ["in"])
    #expect(try volume.attributes("deep").kind == .folder)
    #expect(try volume.attributes("deep").permissions == 0o711)
  }

  /// mkisofs puts that last, and what does not fit elsewhere.
  @Test func foldersThatAreTooDeepCanSaySoInAnotherArea() throws {
    let child = SystemUse.child(27)
    let volume = try volume([
      Record.folder("RR_MOVED", block: 26).with(SystemUse.name("rr_moved")),
      Record("DEEP", block: 30, length: 0).with(
        SystemUse.name("deep"), SystemUse.attributes(mode: 0o40755),
        SystemUse.continuation(block: 40, length: UInt32(child.count))),
    ]) {
      $0.put(child, atBlock: 40)
      $0.put(SystemUse.relocated, atBlock: 41)
      $0.folder(
        at: 26,
        [
          Record.folder("DEEP", block: 27).with(
            SystemUse.name("deep"), SystemUse.attributes(mode: 0o40755),
            SystemUse.continuation(block: 41, length: 4))
        ])
      $0.folder(at: 27, [Record("IN", block: 30, length: 0)])
    }
    #expect(try volume.paths() == ["/deep", "/deep/in"])
  }

  @Test func aFolderThatIsOnlyCalledSoIsShown() throws {
    let volume = try volume([Record.folder("RR_MOVED", block: 26).with(SystemUse.name("rr_moved"))])
    {
      $0.folder(at: 26, [Record("OWN", block: 30, length: 0)])
    }
    #expect(try volume.paths() == ["/rr_moved", "/rr_moved/own"])
  }

  @Test func namesOfOneFileHaveOneNumber() throws {
    func linked(_ name: String, block: UInt32, links: UInt32 = 2, serial: UInt32? = nil) -> Record {
      Record(name, block: block, length: 5).with(
        SystemUse.name(name),
        SystemUse.attributes(mode: 0o100644, links: links, serial: serial))
    }
    let volume = try volume([
      linked("a", block: 30), linked("b", block: 30), linked("other", block: 31),
      linked("single", block: 30, links: 1),
      linked("c", block: 32, serial: 9), linked("d", block: 33, serial: 9),
      Record("EMPTY", block: 30, length: 0).with(
        SystemUse.name("empty"), SystemUse.attributes(mode: 0o100644, links: 2)),
    ])
    let serials = try ["a", "b", "other", "single", "c", "d"].map {
      try volume.attributes($0).serial
    }
    #expect(serials[0] != nil)
    #expect(serials[0] == serials[1])
    #expect(serials[2] != serials[0])
    #expect(serials[3] == nil)
    #expect(serials[4] != nil)
    #expect(serials[4] == serials[5])
    #expect(serials.allSatisfy { $0 ?? 0 <= ItemID.largest })
    #expect(try volume.attributes("a").links == 2)
    // All empty files can be at one place.
    #expect(try volume.attributes("empty").links == 1)
    #expect(try volume.attributes("empty").serial == nil)
  }

  @Test func extendedAttributes() throws {
    func component(_ flags: UInt8, _ bytes: [UInt8]) -> [UInt8] {
      [flags, UInt8(bytes.count)] + bytes
    }
    let first = component(0, [3] + Array("note".utf8)) + component(1, Array("a long ".utf8))
    let second =
      component(0, Array("value".utf8)) + component(0, Array("user.plain".utf8))
      + component(0, [0, 255])
      + component(0, []) + component(0, [0x17])
      + component(0, [6] + Array("selinux".utf8)) + component(0, [1])
    let volume = try volume([
      file("with", SystemUse.entry("AL", [1] + first), SystemUse.entry("AL", [0] + second)),
      file("without"),
    ])
    #expect(
      try volume.tree.extendedAttributes(of: try volume.item("with")) == [
        ExtendedAttribute("user.note", Array("a long value".utf8)),
        ExtendedAttribute("user.plain", [0, 255]),
      ])
    #expect(try volume.tree.extendedAttributes(of: try volume.item("without")).isEmpty)
    #expect(try volume.tree.extendedAttributes(of: try volume.item("")).isEmpty)
  }

  /// libisofs has a folder's in its parent, and some of its own in the root, by which such a disc is known.
  @Test func extendedAttributesOfFolders() throws {
    func attribute(_ name: String, _ value: String) -> [UInt8] {
      let parts = [[0x03] + Array(name.utf8), Array(value.utf8)] as [[UInt8]]
      return SystemUse.entry("AL", [0] + parts.flatMap { [0, UInt8($0.count)] + $0 })
    }
    func found(root: [UInt8]) throws -> [[ExtendedAttribute]] {
      let volume = try volume(
        [
          Record.folder("SUB", block: 26).with(SystemUse.name("sub"), attribute("in", "root")),
          Record.folder("OTHER", block: 27).with(SystemUse.name("other"), attribute("of", "this")),
        ], own: Self.own + root
      ) {
        $0.folder(
          at: 26,
          [Record.folder("INNER", block: 28).with(SystemUse.name("inner"), attribute("in", "sub"))])
        $0.folder(at: 27, own: attribute("own", "record"), [])
        $0.folder(at: 28, parent: 26, [])
      }
      return try ["", "sub", "sub/inner", "other"].map {
        try volume.tree.extendedAttributes(of: try volume.item($0))
      }
    }
    func one(_ name: String, _ value: String) -> [ExtendedAttribute] {
      [ExtendedAttribute("user." + name, Array(value.utf8))]
    }
    #expect(
      try found(root: attribute("of", "root")) == [
        one("of", "root"), one("in", "root"), one("in", "sub"), one("own", "record"),
      ])
    #expect(try found(root: []) == [[], [], [], one("own", "record")])
  }
}
