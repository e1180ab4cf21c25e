import DiskCore
import FileSystems

/// A tree as a test wants to compare it: every path with what is there.
struct ListedFiles {
  struct Item: Equatable {
    var item: ItemID
    var attributes: FileAttributes
    /// Nil for a folder, and for a file that cannot be read whole.
    var content: [UInt8]?
  }

  /// By path, without a slash in front.
  var items: [String: Item] = [:]
  var damage: [DiskError] = []

  init(_ tree: FileTree) throws {
    try list(tree, tree.root(), "", depth: 0)
  }

  init(
    _ bytes: [UInt8], options: FileSystemOptions = FileSystemOptions(localTimeOffset: { _ in 0 })
  ) throws {
    try self.init(Self.tree(bytes, options: options))
  }

  static func tree(
    _ bytes: [UInt8], options: FileSystemOptions = FileSystemOptions(localTimeOffset: { _ in 0 })
  ) throws -> FileTree {
    FileTree(Volume(try Disk.holding(bytes).whole, options: options))
  }

  var paths: [String] { items.keys.sorted() }

  private mutating func list(
    _ tree: FileTree, _ folder: ItemID, _ path: String, depth: Int
  ) throws {
    let listed = try tree.folder(folder)
    if let error = listed.damage { damage.append(error) }
    for entry in listed.entries {
      let path = path + entry.name.text
      let attributes = try tree.attributes(of: entry.item)
      var content: [UInt8]?
      if entry.kind == .file { content = try? tree.content(of: entry.item).all }
      items[path] = Item(item: entry.item, attributes: attributes, content: content)
      guard entry.kind == .folder, depth < 20 else { continue }
      do {
        try list(tree, entry.item, path + "/", depth: depth + 1)
      } catch let error as DiskError {
        damage.append(error)
      }
    }
  }
}

extension Window {
  /// Every byte, in pieces as a reader takes them.
  var all: [UInt8] {
    get throws {
      var bytes: [UInt8] = []
      while UInt64(bytes.count) < size {
        let count = Int(min(1 << 20, size - UInt64(bytes.count)))
        bytes += try self.bytes(at: DiskOffset(UInt64(bytes.count)), count: count)
      }
      return bytes
    }
  }
}

extension FileTree {
  /// What is at a path, a name after the other.
  func item(_ path: String) throws -> ItemID {
    var item = try root()
    for name in path.split(separator: "/") {
      guard let entry = try lookUp(FileName(String(name)), in: item) else {
        throw DiskError(.notFound, "no \(name)")
      }
      item = entry.item
    }
    return item
  }

  func names(in path: String = "") throws -> [String] {
    try folder(item(path)).entries.map(\.name.text)
  }
}

/// The error that `body` throws; nil where it throws none.
func failure<Result>(_ body: () throws -> Result) -> DiskError? {
  do {
    _ = try body()
    return nil
  } catch {
    return error as? DiskError
  }
}
