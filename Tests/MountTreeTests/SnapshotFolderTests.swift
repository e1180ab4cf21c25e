import DiskCore
import MountTree
import Partitions
import Synchronization
import TestSupport
import Testing

@Suite struct SnapshotFolderTests {
  private final class Opened: Sendable {
    let names = Mutex<[String]>([])
  }

  private let opened = Opened()

  private func snapshot(_ name: String, _ content: [UInt8]) -> DiskFolder.Snapshot {
    DiskFolder.Snapshot(name) { [opened] () throws(DiskError) in
      opened.names.withLock { $0.append(name) }
      let disk = try Disk(layers: [FlatLayer(MemoryStorage(content))]).whole
      return DiskFolder(disk: disk, table: try PartitionTable.read(from: disk))
    }
  }

  private func tree(_ snapshots: [DiskFolder.Snapshot]) throws -> ListedTree {
    let disk = try Disk.holding([1, 2, 3]).whole
    let folder = DiskFolder(
      disk: disk, table: try PartitionTable.read(from: disk), snapshots: snapshots)
    return try ListedTree(folder)
  }

  @Test func eachIsATreeOfItsOwn() throws {
    let tree = try tree([
      snapshot("before", [4, 5]), snapshot("base.vhd", [6]),
    ])
    #expect(try tree.names() == ["disk", "files", "snapshots"])
    #expect(try tree.names("snapshots") == ["before", "base.vhd"])
    #expect(opened.names.withLock { $0 }.isEmpty, "nothing is opened to list them")
    #expect(try tree.names("snapshots/before") == ["disk", "files"])
    #expect(try tree.bytes("snapshots/before/disk", count: 2) == [4, 5])
    #expect(try tree.bytes("snapshots/base.vhd/disk", count: 1) == [6])
    #expect(try tree.bytes("disk", count: 3) == [1, 2, 3])
    #expect(opened.names.withLock { $0 } == ["before", "base.vhd"], "each once")
  }

  /// Snapshots come and go while the mount lives: those that stay keep their inodes, and one that has
  /// the name of another that was there before is another.
  @Test func theListFollows() throws {
    let disk = try Disk.holding([1, 2, 3]).whole
    let table = try PartitionTable.read(from: disk)
    let tree = MountTree(root: .directory { [] })
    let root = try #require(tree.node(MountTree.rootID))
    func show(_ snapshots: [DiskFolder.Snapshot]) {
      tree.replaceRoot { () throws(DiskError) in
        try DiskFolder(disk: disk, table: table, snapshots: snapshots).items()
      }
    }
    func node(_ path: String) throws -> Node? {
      try path.split(separator: "/").reduce(root as Node?) { node, name in
        try node.flatMap { try tree.lookup(String(name), in: $0) }
      }
    }
    let (one, two) = (snapshot("one", [1]), snapshot("two", [2]))
    show([one])
    let first = try #require(try node("snapshots/one/disk"))
    let folder = try #require(try node("snapshots"))
    show([one, two])
    #expect(try node("snapshots/one/disk") === first && node("snapshots") === folder)
    #expect(try node("snapshots/two/disk") != nil)
    show([two])
    #expect(try node("snapshots/one") == nil)
    show([two, snapshot("one", [3])])
    let again = try #require(try node("snapshots/one/disk"))
    #expect(again !== first && again.id != first.id)
    #expect(opened.names.withLock { $0 } == ["one", "two", "one"])
    show([])
    #expect(try node("snapshots") == nil)
  }

  @Test func noneNoFolder() throws {
    #expect(try tree([]).names() == ["disk", "files"])
  }

  @Test func namesAreSafe() throws {
    let long = String(repeating: "a", count: 300)
    let tree = try tree([
      snapshot("../../etc", [1]), snapshot("..", [2]), snapshot("new\nline", [3]),
      snapshot(long, [4]), snapshot(long + "b", [5]), snapshot("", [6]),
    ])
    let cut = String(repeating: "a", count: 240)
    #expect(
      try tree.names("snapshots") == [
        "..\\x2f..\\x2fetc", "\\x2e\\x2e", "new\\x0aline", cut, cut + "+",
      ])
    #expect(try tree.bytes("snapshots/\(cut)+/disk", count: 1) == [5])
  }

  @Test func oneThatCannotBeOpenedLeavesTheOthers() throws {
    let tree = try tree([
      DiskFolder.Snapshot("bad") { () throws(DiskError) in
        throw DiskError(.malformed, "damaged")
      }, snapshot("good", [1]),
    ])
    #expect(throws: DiskError.self) { try tree.names("snapshots/bad") }
    #expect(try tree.names("snapshots/good") == ["disk", "files"])
  }
}
