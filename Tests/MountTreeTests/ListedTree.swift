import DiskCore
import MountTree
import Partitions
import TestSupport

struct Missing: Error, CustomStringConvertible {
  let description: String
}

/// The tree that a mount of one disk shows, and what was read of the disk for it.
struct ListedTree {
  let tree: MountTree
  let storage: FaultyStorage
  let table: PartitionTable

  /// Of a folder that was made elsewhere.
  init(_ folder: DiskFolder) throws {
    storage = FaultyStorage(MemoryStorage([]))
    table = try PartitionTable.read(from: Disk(layers: [FlatLayer(storage)]).whole)
    tree = MountTree(root: .directory { () throws(DiskError) in try folder.items() })
  }

  init(size: UInt64, pieces: [(at: UInt64, bytes: [UInt8])]) throws {
    storage = FaultyStorage(MemoryStorage(size: size, pieces: pieces))
    let disk = try Disk(layers: [FlatLayer(storage)]).whole
    table = try PartitionTable.read(from: disk)
    storage.forgetReads()
    let folder = DiskFolder(disk: disk, table: table)
    tree = MountTree(root: .directory { () throws(DiskError) in try folder.items() })
  }

  init(_ gpt: GPTBuilder) throws { try self.init(size: gpt.size, pieces: gpt.pieces) }

  var root: Node { get throws { try found(tree.node(MountTree.rootID)) } }

  /// The node at `path`, its names separated by `/`; the root for none.
  func node(_ path: String) throws -> Node {
    var node = try root
    // By scalars: a name may start with an accent, which makes one character with the slash.
    for name in path.unicodeScalars.split(separator: "/") {
      node = try found(tree.lookup(String(name), in: node))
    }
    return node
  }

  func entries(_ path: String = "") throws -> [Node.Entry] {
    guard case .directory(let entries) = try node(path).content else {
      throw Missing(description: "\(path) is no directory")
    }
    return try entries.get()
  }

  /// The names in a folder, and for links where they lead.
  func names(_ path: String = "") throws -> [String] {
    try entries(path).map { entry in
      if case .link(let target) = entry.node.content {
        "\(entry.name) → \(target)"
      } else {
        entry.name
      }
    }
  }

  func bytes(_ path: String, count: Int) throws -> [UInt8] {
    guard case .file(let window) = try node(path).content else {
      throw Missing(description: "\(path) is no file")
    }
    return try window.bytes(at: .start, count: count)
  }

  private func found(_ node: Node?) throws -> Node {
    guard let node else { throw Missing(description: "there is no such node") }
    return node
  }
}
