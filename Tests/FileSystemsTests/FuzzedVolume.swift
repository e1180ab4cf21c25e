import DiskCore
import FileSystems
import TestSupport
import Testing

@testable import FileSystems

/// A valid volume with bytes overwritten at random: whatever comes of it, it is files or a `DiskError`. A
/// trap ends the test run.
enum FuzzedVolume {
  private static let values: [UInt8] = [0, 1, 2, 3, 0x7F, 0x80, 0xE5, 0xF8, 0xFE, 0xFF]
  /// Of one volume: damage can make a tree of loops out of it.
  private static let mostItems = 60

  /// Overwrites one to four of `fields`, which are places in bytes.
  static func overwrite(
    _ volume: inout ImageBytes, fields: [Int], _ random: inout SeededRandom
  ) {
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let place = fields.randomElement(using: &random) ?? 0
      let width = [1, 1, 2, 4, 8].randomElement(using: &random) ?? 1
      let value = values.randomElement(using: &random) ?? 0
      let byte = Bool.random(using: &random) ? value : UInt8.random(in: 0...255, using: &random)
      volume.put([UInt8](repeating: byte, count: min(width, volume.count - place)), at: place)
    }
  }

  /// The volume, now and then only the beginning of it.
  static func cut(_ volume: ImageBytes, _ random: inout SeededRandom) -> [UInt8] {
    guard Int.random(in: 0..<8, using: &random) == 0 else { return volume.bytes }
    return Array(volume.bytes.prefix(Int.random(in: 0...volume.count, using: &random)))
  }

  /// Looks at all that there is in a volume; whether it could be opened.
  static func survives(_ bytes: [UInt8]) throws -> Bool {
    guard !bytes.isEmpty else { return false }
    let tree = try ListedFiles.tree(bytes)
    do {
      _ = try tree.fileSystem().notes
      var left = mostItems
      try look(into: tree.root(), of: tree, depth: 0, &left)
      return true
    } catch let error as DiskError {
      #expect(!"\(error)".contains { $0.isNewline })
      return false
    }
  }

  private static func look(
    into folder: ItemID, of tree: FileTree, depth: Int, _ left: inout Int
  ) throws {
    _ = try? tree.attributes(of: folder)
    let listed = try tree.folder(folder)
    for entry in listed.entries {
      left -= 1
      guard left > 0 else { return }
      #expect(!entry.name.bytes.isEmpty && !entry.name.bytes.contains { $0 == 0 || $0 == 0x2F })
      #expect(entry.name.bytes.count <= 255)
      #expect(try tree.lookUp(entry.name, in: folder)?.item == entry.item)
      _ = try? tree.attributes(of: entry.item)
      if entry.kind == .folder, depth < 4 {
        _ = failure { try look(into: entry.item, of: tree, depth: depth + 1, &left) }
      } else if let file = try? tree.content(of: entry.item), file.size > 0 {
        for place in [0, file.size / 2, file.size - min(file.size, 4096)] {
          let count = Int(min(4096, file.size - place))
          _ = try? file.bytes(at: DiskOffset(place), count: count)
          if let entry = try? file.mapEntry(at: DiskOffset(place)) {
            #expect(entry.length > 0 && entry.length <= file.size - place)
          }
        }
      }
    }
  }
}
