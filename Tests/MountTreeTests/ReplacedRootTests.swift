import DiskCore
import MountTree
import TestSupport
import Testing

@Suite struct ReplacedRootTests {
  private let disk: Window

  init() throws { disk = try Disk.holding(size: 1 << 20, pieces: []).whole }

  private func window(_ start: UInt64, _ size: UInt64) throws -> TreeItem.Content {
    .file(try disk.window(at: DiskOffset(start), size: size))
  }

  @Test func whatShowsTheSameKeepsItsNumber() throws {
    let (a, b, c) = (try window(0, 4096), try window(4096, 4096), try window(4096, 8192))
    let tree = MountTree(
      root: .directory {
        [
          TreeItem("disk", .file(disk)), TreeItem("p1", a), TreeItem("p2", b), TreeItem("p4", a),
          TreeItem("folder", .directory { [TreeItem("x", .link("../p1"))] }),
          TreeItem("report", .report { [] }),
        ]
      })
    let root = try #require(tree.node(MountTree.rootID))
    func node(_ path: String...) throws -> Node? {
      var node: Node? = root
      for name in path { node = try node.flatMap { try tree.lookup(name, in: $0) } }
      return node
    }
    let before = try ["disk", "p1", "p2", "folder", "report"].map { try node($0)?.id }
    let old = try #require(try node("p2"))
    let link = try node("folder", "x")?.id
    tree.replaceRoot {
      [
        TreeItem("p1", a), TreeItem("p2", c), TreeItem("p3", a), TreeItem("disk", .file(disk)),
        TreeItem("folder", .directory { [TreeItem("x", .link("../p1")), TreeItem("z", a)] }),
        TreeItem("report", .report { [1] }),
      ]
    }
    let after = try ["disk", "p1", "p2", "folder", "report"].map { try node($0)?.id }
    #expect(before[0] == after[0] && before[1] == after[1] && before[3...] == after[3...])
    #expect(before[2] != after[2], "another window is another inode")
    #expect(tree.node(old.id) === old && old.attributes.size == 4096, "who has it open keeps it")
    #expect(try node("p2")?.attributes.size == 8192)
    #expect(try node("p4") == nil && node("p3") != nil)
    #expect(try node("folder", "x")?.id == link && node("folder", "z") != nil)
    #expect(Set(try ["disk", "p1", "p2", "p3"].map { try node($0)?.id }).count == 4)
  }

  @Test func aWritableViewSaysSo() throws {
    let layer = MemoryOverlay(size: 1 << 20, unit: 4096)
    let window = try Disk(layers: [layer]).whole
    let tree = MountTree(root: .file(window))
    let root = try #require(tree.node(MountTree.rootID))
    #expect(root.attributes.permissions == 0o644 && root.attributes.allocatedBytes == 0)
    try window.write(at: DiskOffset(5000), from: [UInt8](repeating: 1, count: 100).span.bytes)
    #expect(root.attributes.allocatedBytes > 0, "counted again after a write")
  }
}
