import Foundation
import TestSupport
import Testing

@testable import FileSystems

/// What another program took out of a volume.
struct ExtractedFiles {
  struct Item {
    var isFolder: Bool
    /// Whole seconds since 1970.
    var modified: Int64
    var content: [UInt8]
  }

  /// By path from the folder on.
  var items: [String: Item] = [:]

  init(_ folder: String) throws {
    let base = URL(fileURLWithPath: folder)
    for path in try FileManager.default.subpathsOfDirectory(atPath: folder) {
      let file = base.appendingPathComponent(path).path
      let attributes = try FileManager.default.attributesOfItem(atPath: file)
      let isFolder = attributes[.type] as? FileAttributeType == .typeDirectory
      let modified = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
      items[path.precomposedStringWithCanonicalMapping] = Item(
        isFolder: isFolder, modified: Int64(modified.rounded(.down)),
        content: isFolder ? [] : Array(try Data(contentsOf: URL(fileURLWithPath: file))))
    }
  }
}

extension ListedFiles {
  /// Names, kinds, sizes, times and bytes.
  func compare(_ extracted: ExtractedFiles, times: Bool = true) {
    #expect(damage.isEmpty)
    #expect(paths == extracted.items.keys.sorted())
    for (path, expected) in extracted.items {
      guard let found = items[path] else { continue }
      #expect((found.attributes.kind == .folder) == expected.isFolder, "\(path)")
      guard !expected.isFolder else { continue }
      #expect(found.attributes.size == UInt64(expected.content.count), "\(path)")
      #expect(found.content == expected.content, "\(path)")
      if times { #expect(found.attributes.modified?.seconds == expected.modified, "\(path)") }
    }
  }
}
