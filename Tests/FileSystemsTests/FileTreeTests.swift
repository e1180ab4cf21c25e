import DiskCore
import TestSupport
import Testing

@testable import FileSystems

/// What every file system has in common: safe names, kept folders, files that are read like disks.
struct FileTreeTests {
  /// Folders that are told; every file is the disk's bytes from 100 on, with a hole behind them.
  private final class Told: FileSystem {
    let volume: Volume
    let folders: [UInt64: [FolderEntry]]
    let damaged: Set<UInt64>
    let targets: [UInt64: String]
    let listed = Shared(0)

    init(
      _ volume: Volume, _ folders: [UInt64: [FolderEntry]], damaged: Set<UInt64> = [],
      targets: [UInt64: String] = [:]
    ) {
      self.volume = volume
      self.folders = folders
      self.damaged = damaged
      self.targets = targets
    }

    var type: String { "told" }
    var root: ItemID { ItemID(1) }
    var notes: [String] { [] }

    func attributes(of item: ItemID) throws(DiskError) -> FileAttributes {
      FileAttributes(folders[item.number] == nil ? .file : .folder, size: 30)
    }

    func forEachEntry(
      of folder: ItemID, _ visit: (FolderEntry) -> Bool
    ) throws(DiskError) {
      listed.change { $0 += 1 }
      for entry in folders[folder.number] ?? [] where !visit(entry) { return }
      if damaged.contains(folder.number) { throw DiskError(.malformed, "ends too early") }
    }

    func lookupKey(of name: FileName) -> FileName { FileName(name.text.lowercased()) }

    func target(of link: ItemID) throws(DiskError) -> FileName {
      FileName(targets[link.number] ?? "")
    }

    func content(of file: ItemID) throws(DiskError) -> any FileContent { Piece(volume) }

    final class Piece: FileContent {
      let volume: Volume
      init(_ volume: Volume) { self.volume = volume }
      var size: UInt64 { 30 }
      func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
        offset.bytes < 20
          ? volume.extent(at: DiskOffset(100 + offset.bytes), length: 20 - offset.bytes)
          : Extent(.zero, length: 30 - offset.bytes)
      }
    }
  }

  private let bytes = (0..<200).map { UInt8($0) }

  private func tree(
    _ folders: [UInt64: [FolderEntry]], damaged: Set<UInt64> = [], targets: [UInt64: String] = [:]
  ) throws -> (FileTree, Told) {
    let volume = Volume(try Disk(layers: [FlatLayer(MemoryStorage(bytes))]).whole)
    let told = Told(volume, folders, damaged: damaged, targets: targets)
    return (FileTree(volume) { (_) throws(DiskError) in told }, told)
  }

  private func entry(_ name: String, _ number: UInt64, _ kind: FileKind = .file) -> FolderEntry {
    FolderEntry(FileName(name), ItemID(number), kind)
  }

  @Test func namesAreSafeAndUnique() throws {
    let long = String(repeating: "ä", count: 200)
    let (files, _) = try tree([
      1: [
        entry("a/b", 2), entry("..", 3), entry(".", 4), entry("", 5), entry("A", 6), entry("a", 7),
        entry("a", 8), FolderEntry(FileName([0x78, 0]), ItemID(9), .file), entry(long, 10),
        entry(long + "x", 11), FolderEntry(FileName([0xFF, 0xFE]), ItemID(12), .file),
      ]
    ])
    let folder = try files.folder(files.root())
    #expect(
      folder.entries.prefix(8).map(\.name.text) == [
        "a\\x2fb", "\\x2e\\x2e", "\\x2e", "\\x", "A", "a~2", "a~3", "x\\x00",
      ])
    let cut = folder.entries[8].name
    #expect(cut.bytes.count == 254 && cut.text == String(repeating: "ä", count: 127))
    #expect(folder.entries[9].name.bytes.count <= 255 && folder.entries[9].name != cut)
    #expect(folder.entries[10].name.bytes == [0xFF, 0xFE])
    for entry in folder.entries {
      #expect(try files.lookUp(entry.name, in: files.root())?.item == entry.item)
    }
    #expect(try files.lookUp(FileName("A~2"), in: files.root())?.item == ItemID(7))
    #expect(try files.lookUp(FileName("b"), in: files.root()) == nil)
  }

  @Test func foldersOfTooManyEntriesAreRefused() throws {
    let (_, told) = try tree([1: (0..<11).map { entry("\($0)", UInt64($0) + 10) }])
    #expect(try Folder(ItemID(1), of: told, most: 11).entries.count == 11)
    #expect(
      message { try Folder(ItemID(1), of: told, most: 10) } == "a folder of more than 10 entries")
    #expect(Folder.mostEntries <= 1 << 19)
  }

  /// Names that differ only where they are cut, and names that differ only where a number is put: neither
  /// makes a folder that takes hours.
  @Test(.timeLimit(.minutes(1))) func manyNamesThatAreCutAlike() throws {
    let count = 6000
    func number(_ index: Int) -> String { String(100_000 + index) }
    let behind = String(repeating: "x", count: 255)
    let before = String(repeating: "y", count: 249)
    let (files, _) = try tree([
      1: (0..<count).map { entry(behind + number($0), UInt64($0) + 10) },
      2: (0..<2 * count).map { entry(before + number($0 / 2), UInt64($0) + 10) },
    ])
    for (folder, count) in [(1, count), (2, 2 * count)] as [(UInt64, Int)] {
      let entries = try files.folder(ItemID(folder)).entries
      #expect(Set(entries.map(\.name)).count == count)
      #expect(entries.allSatisfy { $0.name.bytes.count == 255 })
    }
  }

  @Test func damagedFoldersShowWhatIsBeforeTheDamage() throws {
    let (files, _) = try tree([1: [entry("a", 2)], 3: []], damaged: [1, 3])
    let folder = try files.folder(ItemID(1))
    #expect(folder.entries.map(\.name.text) == ["a"])
    #expect(folder.damage?.kind == .malformed)
    #expect(try files.lookUp(FileName("a"), in: ItemID(1)) != nil)
    // Whether it is there cannot be known.
    #expect(throws: DiskError.self) { try files.lookUp(FileName("b"), in: ItemID(1)) }
    #expect(throws: DiskError.self) { try files.folder(ItemID(3)) }
  }

  @Test func foldersAreListedOnce() throws {
    let many = (0..<1000).map { entry("file \($0)", UInt64($0) + 10) }
    let (files, told) = try tree([1: many])
    for entry in many {
      #expect(try files.lookUp(entry.name, in: ItemID(1))?.item == entry.item)
    }
    #expect(told.listed.value == 1)
  }

  /// Names that differ in case only, and as many that differ where they are cut: each is numbered
  /// without going through the numbers of the others.
  @Test func manyNamesThatAreTheSame() throws {
    let count = 6000
    let letters = Array("abcdefghijklmnop".utf8)
    let start = [UInt8](repeating: 0x78, count: 253)
    var cases: [FolderEntry] = []
    var long: [FolderEntry] = []
    for index in 0..<count {
      var name = letters
      for place in 0..<16 where (index >> place) & 1 == 1 { name[place] -= 0x20 }
      cases.append(FolderEntry(FileName(name), ItemID(UInt64(index + 10)), .file))
      let end: [UInt8] = [0x80 | UInt8(index / 2 % 64), 0x80 | UInt8(index / 128 % 64)]
      long.append(FolderEntry(FileName(start + end), ItemID(UInt64(index + 10)), .file))
    }
    let (files, _) = try tree([1: cases, 2: long])
    let clock = ThreadClock()
    let took = try clock.measure {
      for folder in [1, 2] as [UInt64] {
        let names: [FileName] = try files.folder(ItemID(folder)).entries.map(\.name)
        #expect(Set(names).count == count)
        #expect(names.allSatisfy { $0.bytes.count <= 255 })
      }
    }
    #expect(took < .seconds(20))
  }

  /// Those that were listed long ago make room.
  @Test func keptFoldersAreBounded() throws {
    let many = (0..<FolderCache.mostEntries / 2 - 1).map { entry("\($0)", UInt64($0) + 10) }
    let (files, told) = try tree([1: many, 2: many, 3: many])
    for folder in [1, 2, 3, 3, 2, 1] as [UInt64] { _ = try files.folder(ItemID(folder)) }
    #expect(told.listed.value == 4)
  }

  @Test func filesAreReadLikeDisks() throws {
    let (files, _) = try tree([1: [entry("a", 2)]])
    let content = try files.content(of: ItemID(2))
    #expect(content.size == 30)
    #expect(
      try content.bytes(at: .start, count: 30) == Array(bytes[100..<120])
        + [UInt8](repeating: 0, count: 10))
    #expect(try content.nextHole(from: .start) == DiskOffset(20))
    #expect(throws: DiskError.self) { try content.bytes(at: DiskOffset(20), count: 11) }
  }

  @Test func linksStayInside() throws {
    let (files, _) = try tree(
      [
        1: [entry("up", 2, .link), entry("loop", 3, .link), entry("folder", 4, .folder)],
        4: [entry("file", 5), entry("back", 6, .link)],
      ], targets: [2: "../../folder/file", 3: "loop", 6: "/folder"])
    #expect(try files.item(at: FileName("up")) == ItemID(5))
    #expect(try files.item(at: FileName("up"), followsLast: false) == ItemID(2))
    #expect(try files.item(at: FileName("/../folder//./back/file")) == ItemID(5))
    #expect(try files.item(at: FileName("folder/back")) == ItemID(4))
    #expect(try files.item(at: FileName("")) == ItemID(1))
    for path in ["loop", "missing", "folder/missing", "folder/file/more"] {
      #expect(throws: DiskError.self) { try files.item(at: FileName(path)) }
    }
  }
}
