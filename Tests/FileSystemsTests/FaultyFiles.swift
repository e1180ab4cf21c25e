import DiskCore
import FileSystems
import TestSupport

@testable import FileSystems

/// What of a volume is lost with one of its sectors.
struct FaultyFiles {
  let bytes: [UInt8]
  let whole: ListedFiles

  init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    whole = try ListedFiles(bytes)
  }

  static func tree(_ bytes: [UInt8], without damaged: [Range<UInt64>]) throws -> FileTree {
    let storage = FaultyStorage(MemoryStorage(bytes))
    for range in damaged { storage.damage(range) }
    return FileTree(
      Volume(
        try Disk(layers: [FlatLayer(storage)]).whole,
        options: FileSystemOptions(localTimeOffset: { _ in 0 })))
  }

  /// The paths that are missing or different without the sectors at these places; `*` where nothing can be
  /// listed, `!` where a folder is said to be damaged.
  func lost(without places: [Int]) throws -> [String] {
    let tree = try Self.tree(bytes, without: places.map { UInt64($0)..<UInt64($0) + 512 })
    guard let left = try? ListedFiles(tree) else { return ["*"] }
    for (path, item) in left.items where item.content != nil || whole.items[path] == nil {
      // What is read is what is stored.
      guard item.content == whole.items[path]?.content else { return ["WRONG \(path)"] }
    }
    return whole.items.filter { left.items[$0.key] != $0.value }.keys.sorted()
      + (left.damage.isEmpty ? [] : ["!"])
  }
}
