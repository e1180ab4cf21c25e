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
    #expect(try tree.names() == ["disk", "snapshots"])
    #expect(try tree.names("snapshots") == ["before", "base.vhd"])
    #expect(opened.names.withLock { $0 }.isEmpty, "nothing is opened to list them")
    #expect(try tree.names("snapshots/before") == ["disk"])
    #expect(try tree.bytes("snapshots/before/disk", count: 2) == [4, 5])
    #expect(try tree.bytes("snapshots/base.vhd/disk", count: 1) == [6])
    #expect(try tree.bytes("disk", count: 3) == [1, 2, 3])
    #expect(opened.names.withLock { $0 } == ["before", "base.vhd"], "each once")
  }

  @Test func noneNoFolder() throws {
    #expect(try tree([]).names() == ["disk"])
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
    #expect(try tree.names("snapshots/good") == ["disk"])
  }
}
