public import DiskCore

extension FileTree {
  /// More symbolic links on the way to one file are a loop (as Linux's `MAXSYMLINKS`).
  static let mostLinks = 40

  /// What `path` leads to. Links are followed inside the file system and never out of it: its root is
  /// the root, and above the root is the root.
  ///
  /// - Parameters:
  ///   - path: names separated by `/`; the root where there are none. One that ends with `/` is a folder.
  ///   - followsLast: whether a link at the end is followed too, as it always is to a folder.
  /// - Throws: `notFound` for a name that does not exist; `invalidRequest` for what is used as a folder
  ///   and is none, and for a loop of links.
  public func item(at path: FileName, followsLast: Bool = true) throws(DiskError) -> ItemID {
    var folders = [try root()]
    var current: (item: ItemID, kind: FileKind) = (folders[0], .folder)
    var names = Self.names(of: path)
    // As `.` behind the slash.
    if path.bytes.last == 0x2F, !names.isEmpty { names.insert(FileName("."), at: 0) }
    var links = 0
    while let name = names.popLast() {
      guard current.kind == .folder else {
        throw DiskError(.invalidRequest, "is no folder", path: printable(path.text))
      }
      if name.bytes == [0x2E] { continue }
      if name.bytes == [0x2E, 0x2E] {
        if folders.count > 1 { folders.removeLast() }
        current = (folders[folders.count - 1], .folder)
        continue
      }
      guard let entry = try lookUp(name, in: current.item) else {
        throw DiskError(.notFound, "there is no such file", path: printable(path.text))
      }
      switch entry.kind {
      case .link where followsLast || !names.isEmpty:
        links += 1
        guard links <= Self.mostLinks else {
          throw DiskError(.invalidRequest, "its links lead nowhere", path: printable(path.text))
        }
        let target = try target(of: entry.item)
        if target.bytes.first == 0x2F { folders.removeLast(folders.count - 1) }
        current = (folders[folders.count - 1], .folder)
        names += Self.names(of: target)
      case .folder:
        folders.append(entry.item)
        current = (entry.item, .folder)
      default:
        current = (entry.item, entry.kind)
      }
    }
    return current.item
  }

  /// In the order in which they are taken from the end.
  private static func names(of path: FileName) -> [FileName] {
    path.bytes.split(separator: 0x2F).reversed().map { FileName(Array($0)) }
  }
}
