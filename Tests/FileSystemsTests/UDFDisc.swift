import DiskCore
import FileSystems
import TestSupport

/// What a UDF test looks at: a volume's files by their paths.
struct UDFDisc {
  let tree: FileTree

  init(_ bytes: [UInt8]) throws { try self.init(try Disk.holding(bytes)) }

  init(_ builder: UDFBuilder) throws { try self.init(builder.built()) }

  init(file: String) throws {
    try self.init(try Disk(layers: [FlatLayer(FileStorage(path: file))]))
  }

  init(_ disk: Disk) throws { tree = FileTree(Volume(disk.whole)) }

  var notes: [String] { get throws { try tree.fileSystem().notes } }

  func item(_ path: String) throws -> ItemID {
    try tree.item(at: FileName(path), followsLast: false)
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

  func text(_ path: String) throws -> String { String(decoding: try bytes(path), as: UTF8.self) }

  /// Every path with its kind, folders before what is in them; an item that one of its ancestors is, is
  /// not entered.
  func paths() throws -> [(path: String, entry: FolderEntry)] {
    var found: [(path: String, entry: FolderEntry)] = []
    func walk(_ folder: ItemID, _ path: String, _ ancestors: Set<ItemID>) throws {
      for entry in try tree.folder(folder).entries {
        let inner = path + "/" + entry.name.text
        found.append((inner, entry))
        if entry.kind == .folder, !ancestors.contains(entry.item) {
          try walk(entry.item, inner, ancestors.union([entry.item]))
        }
      }
    }
    let root = try tree.root()
    try walk(root, "", [root])
    return found
  }

  /// The error that `body` throws, as a person reads it; empty where it throws none.
  static func complaint(_ body: () throws -> some Any) -> String {
    do {
      _ = try body()
      return ""
    } catch {
      return "\(error)"
    }
  }
}
