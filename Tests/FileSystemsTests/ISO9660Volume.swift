import DiskCore
import FileSystems
import TestSupport

/// What an ISO 9660 test looks at: a volume's files by their paths.
struct ISO9660Volume {
  let tree: FileTree

  init(_ built: BuiltFile, names: FileSystemOptions.ISONames? = nil) throws {
    try self.init(FlatLayer(built.storage(path: "disc.iso")), names)
  }

  init(file: String, names: FileSystemOptions.ISONames? = nil) throws {
    try self.init(FlatLayer(FileStorage(path: file)), names)
  }

  init(storage: any Storage) throws {
    try self.init(FlatLayer(storage), nil)
  }

  private init(_ layer: FlatLayer, _ names: FileSystemOptions.ISONames?) throws {
    tree = FileTree(
      Volume(try Disk(layers: [layer]).whole, options: FileSystemOptions(isoNames: names)))
  }

  /// The item at a path, links not followed.
  func item(_ path: String) throws -> ItemID {
    var item = try tree.root()
    for part in path.split(separator: "/") {
      guard let entry = try tree.lookUp(FileName(String(part)), in: item) else {
        throw HostTools.Failure(description: "there is no \(path)")
      }
      item = entry.item
    }
    return item
  }

  func attributes(_ path: String) throws -> FileAttributes {
    try tree.attributes(of: try item(path))
  }

  func names(_ path: String = "") throws -> [String] {
    try tree.folder(try item(path)).entries.map(\.name.text)
  }

  func target(_ path: String) throws -> String { try tree.target(of: try item(path)).text }

  func bytes(_ path: String) throws -> [UInt8] {
    let window = try tree.content(of: try item(path))
    return try window.bytes(at: .start, count: Int(window.size))
  }

  /// Every path, folders before what is in them; an item that one of its ancestors is, is not entered.
  func paths() throws -> [String] {
    var found: [String] = []
    func walk(_ folder: ItemID, _ path: String, _ ancestors: Set<ItemID>) throws {
      for entry in try tree.folder(folder).entries {
        let inner = path + "/" + entry.name.text
        found.append(inner)
        if entry.kind == .folder, !ancestors.contains(entry.item) {
          try walk(entry.item, inner, ancestors.union([entry.item]))
        }
      }
    }
    let root = try tree.root()
    try walk(root, "", [root])
    return found
  }
}

/// The error that `body` throws, as a person reads it.
func message(_ body: () throws -> some Any) -> String? {
  do {
    _ = try body()
    return nil
  } catch {
    return "\(error)"
  }
}
