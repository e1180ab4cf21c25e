public import DiskCore

/// What is in a folder, under names that Linux can show: each once, none of them `.`, `..`, empty, too
/// long, or with a `/` inside.
public struct Folder: Sendable {
  /// More entries than any folder in use has; one with more is refused rather than shown in part. Twice as
  /// many took 1.8 s and 125 MiB.
  static let mostEntries = 1 << 19
  /// In bytes; Linux's `NAME_MAX`.
  static let longestName = 255
  /// In bytes: `~` and a number of up to `mostEntries`.
  private static let longestEnding = 8

  /// In the order in which they are stored.
  public private(set) var entries: [FolderEntry] = []
  /// Why there are no more of them; nil where the folder ends as it should.
  public private(set) var damage: DiskError?
  private var places: [FileName: Int] = [:]

  /// How many names are kept, for what that costs.
  var names: Int { max(entries.count, places.count) }

  /// - Throws: `unsupported` for a folder of more than `most` entries; otherwise what kept it from being
  ///   read is its `damage`, unless nothing could be read at all.
  init(
    _ folder: ItemID, of fileSystem: any FileSystem, most: Int = mostEntries
  ) throws(DiskError) {
    var namesakes: [FileName: Int] = [:]
    var aliases: [(key: FileName, place: Int)] = []
    do throws(DiskError) {
      try fileSystem.forEachEntry(of: folder) { stored in
        var name = Self.presentable(stored.name)
        var key = fileSystem.lookupKey(of: name)
        if let taken = places.updateValue(entries.count, forKey: key) {
          places[key] = taken
          // The same name again: that happens in damaged folders only. All that would get the same
          // names share a count, or each would go through those of the others.
          let stem = FileName(Array(key.bytes.prefix(Self.longestName - Self.longestEnding)))
          repeat {
            let count = namesakes[stem, default: 1] + 1
            namesakes[stem] = count
            name = Self.presentable(stored.name, ending: "~\(count)")
            key = fileSystem.lookupKey(of: name)
          } while places[key] != nil
          places[key] = entries.count
        }
        if let alias = stored.alias {
          aliases.append((fileSystem.lookupKey(of: alias), entries.count))
        }
        entries.append(FolderEntry(name, stored.item, stored.kind))
        return entries.count <= most
      }
    } catch {
      guard !entries.isEmpty else { throw error }
      damage = error
    }
    // A name comes before another entry's alias.
    for alias in aliases where places[alias.key] == nil { places[alias.key] = alias.place }
    guard entries.count <= most else {
      throw DiskError(.unsupported, "a folder of more than \(most) entries")
    }
  }

  /// The entry whose name has this key; see `FileSystem.lookupKey(of:)`.
  func entry(withKey key: FileName) -> FolderEntry? { places[key].map { entries[$0] } }

  private static func isPresentable(_ name: [UInt8]) -> Bool {
    guard !name.isEmpty, name.count <= longestName, name != [0x2E], name != [0x2E, 0x2E] else {
      return false
    }
    return !name.contains { $0 == 0 || $0 == 0x2F }
  }

  /// `name` as Linux can show it: what cannot be in a name is written `\xNN`, and what is too long ends
  /// earlier.
  private static func presentable(_ name: FileName, ending: String = "") -> FileName {
    if ending.isEmpty, isPresentable(name.bytes) { return name }
    var bytes: [UInt8] = []
    let isDots = name.bytes == [0x2E] || name.bytes == [0x2E, 0x2E]
    bytes.reserveCapacity(name.bytes.count)
    for byte in name.bytes {
      if byte == 0 || byte == 0x2F || isDots {
        bytes += Array("\\x\(hexadecimal(byte))".utf8)
      } else {
        bytes.append(byte)
      }
    }
    if bytes.isEmpty { bytes = Array("\\x".utf8) }
    let room = longestName - ending.utf8.count
    if bytes.count > room {
      bytes.removeLast(bytes.count - room)
      // Not in the middle of a character.
      while let last = bytes.last, last & 0xC0 == 0x80 { bytes.removeLast() }
      if let last = bytes.last, last >= 0xC0 { bytes.removeLast() }
    }
    return FileName(bytes + Array(ending.utf8))
  }
}
