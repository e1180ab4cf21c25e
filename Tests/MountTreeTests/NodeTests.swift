import DiskCore
import MountTree
import TestSupport
import Testing

@Suite struct NodeTests {
  private func window(_ bytes: [UInt8]) throws -> Window { try Disk.holding(bytes).whole }

  private func root(_ tree: MountTree) throws -> Node {
    try #require(tree.node(MountTree.rootID))
  }

  @Test func numbersStay() throws {
    let file = try window([1, 2, 3])
    let lists = Shared(0)
    let tree = MountTree(
      root: .directory {
        lists.change { $0 += 1 }
        return [
          TreeItem("a", .file(file)),
          TreeItem(
            "folder", .directory { [TreeItem("b", .file(file)), TreeItem("c", .link("../a"))] }),
        ]
      })
    #expect(lists.value == 0, "nothing is listed before somebody looks")
    let root = try root(tree)
    #expect(root.id == 1 && root.parent == 1)
    let a = try #require(try tree.lookup("a", in: root))
    let folder = try #require(try tree.lookup("folder", in: root))
    let b = try #require(try tree.lookup("b", in: folder))
    let c = try #require(try tree.lookup("c", in: folder))
    #expect(Set([root.id, a.id, folder.id, b.id, c.id]).count == 5)
    #expect(folder.parent == 1 && b.parent == folder.id)
    for _ in 0..<3 {
      #expect(try tree.lookup("a", in: root)?.id == a.id)
      #expect(try tree.lookup("b", in: folder)?.id == b.id)
    }
    #expect(lists.value == 1)
    for node in [root, a, folder, b, c] { #expect(tree.node(node.id) === node) }
    #expect(tree.node(0) == nil && tree.node(99) == nil && tree.node(.max) == nil)
  }

  @Test func lookups() throws {
    let file = try window([1])
    let tree = MountTree(root: .directory { [TreeItem("größe", .file(file))] })
    let root = try root(tree)
    for name in ["", ".", "..", "Größe", "größe ", "grö", "größe/x"] {
      #expect(try tree.lookup(name, in: root) == nil)
    }
    let found = try #require(try tree.lookup("größe", in: root))
    #expect(try tree.lookup("größe", in: found) == nil, "a file holds nothing")
  }

  /// To the kernel a name is its bytes: é and e with an accent are two.
  @Test func namesAreTheirBytes() throws {
    let (one, two) = (try window([1]), try window([2]))
    let tree = MountTree(
      root: .directory { [TreeItem("\u{E9}", .file(one)), TreeItem("e\u{301}", .file(two))] })
    let first = try #require(try tree.lookup("\u{E9}", in: root(tree)))
    let second = try #require(try tree.lookup("e\u{301}", in: root(tree)))
    #expect(first !== second)
  }

  @Test func aFolderThatCannotBeListedIsTriedAgain() throws {
    let tries = Shared(0)
    let tree = MountTree(
      root: .directory { () throws(DiskError) in
        guard tries.changed({ $0 += 1 }) > 1 else { throw DiskError(.inputOutput, "not now") }
        return [TreeItem("a", .link("b"))]
      })
    let root = try root(tree)
    let error = #expect(throws: DiskError.self) { try tree.lookup("a", in: root) }
    #expect(error?.message == "not now")
    #expect(try tree.lookup("a", in: root) != nil)
  }

  @Test func manyThreadsSeeOneTree() throws {
    let file = try window([1])
    let lists = Shared(0)
    let tree = MountTree(
      root: .directory {
        lists.change { $0 += 1 }
        return (0..<50).map { TreeItem("\($0)", .file(file)) }
      })
    let root = try root(tree)
    let numbers = Threads.results(16) { _ in
      (0..<50).map { (try? tree.lookup("\($0)", in: root))??.id }
    }
    #expect(Set(numbers).count == 1 && Set(numbers[0]).count == 50 && !numbers[0].contains(nil))
    #expect(lists.value == 1)
  }

  @Test func attributes() throws {
    let sparse = try Disk.holding(size: 1 << 20, pieces: [(4096, [1, 2, 3])]).whole
    let tree = MountTree(
      root: .directory {
        [
          TreeItem("file", .file(sparse)), TreeItem("link", .link("../größe")),
          TreeItem("report", .report { Array("text".utf8) }),
        ]
      })
    let root = try root(tree)
    #expect(root.matches(.directory, 0o555, size: 0, allocated: 0))
    func node(_ name: String) throws -> Node { try #require(try tree.lookup(name, in: root)) }
    #expect(try node("file").matches(.file, 0o444, size: 1 << 20, allocated: 3))
    #expect(try node("link").matches(.link, 0o777, size: 10, allocated: 0))
    #expect(try node("report").matches(.file, 0o444, size: 4, allocated: 0))
  }

  /// Counting what is allocated can mean a walk over a table: once is enough.
  @Test func allocatedBytesAreCountedOnce() throws {
    let layer = ScriptedLayer([.init(.zero, 1000)])
    let window = try Disk(layers: [layer]).whole
    let tree = MountTree(root: .file(window))
    #expect(layer.questions == 0)
    for _ in 0..<3 { #expect(try root(tree).attributes.allocatedBytes == 0) }
    #expect(layer.questions == 1)
  }

  @Test func aReportIsMadeAnew() throws {
    let count = Shared(0)
    let tree = MountTree(
      root: .directory {
        [
          TreeItem("status.json", .report { Array("\(count.changed { $0 += 1 })".utf8) }),
          TreeItem("link", .link("x")),
        ]
      })
    let status = try #require(try tree.lookup("status.json", in: root(tree)))
    guard case .report(let text) = status.content else {
      Issue.record("it is no report")
      return
    }
    #expect(text() == Array("1".utf8) && text() == Array("2".utf8))
    #expect(!status.isLasting)
    #expect(try root(tree).isLasting)
    #expect(try tree.lookup("link", in: root(tree))?.isLasting == true)
  }

  @Test func aFileAsRoot() throws {
    let tree = MountTree(root: .file(try window([1, 2, 3])))
    let root = try root(tree)
    #expect(root.id == MountTree.rootID && root.isLasting)
    #expect(root.matches(.file, 0o444, size: 3, allocated: 3))
    guard case .file(let window) = root.content else {
      Issue.record("the root is no file")
      return
    }
    #expect(try window.bytes(at: .start, count: 3) == [1, 2, 3])
    #expect(try tree.lookup("disk", in: root) == nil)
  }

  @Test func theTreeGoesWithItsOwner() throws {
    weak var seen: MountTree?
    let file = try window([1])
    do {
      let tree = MountTree(root: .directory { [TreeItem("a", .file(file))] })
      seen = tree
      #expect(try tree.lookup("a", in: root(tree)) != nil)
    }
    #expect(seen == nil)
  }
}

extension Node {
  fileprivate func matches(
    _ kind: Kind, _ permissions: UInt32, size: UInt64, allocated: UInt64
  ) -> Bool {
    let attributes = attributes
    return self.kind == kind && attributes.permissions == permissions && attributes.size == size
      && attributes.allocatedBytes == allocated
  }
}
