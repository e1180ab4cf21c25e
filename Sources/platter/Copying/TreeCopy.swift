internal import DiskCore
internal import FileSystems
internal import Glibc

/// Copies an item of an image, and all that is in it, into a folder of this machine.
///
/// Every name is made in a folder that is held open and never through a link, so that a link in the
/// image cannot lead a copy out of its destination. What fails is told and the rest goes on.
struct TreeCopy {
  /// Folders deeper than this are a loop; each that is being copied is held open.
  static let deepest = 512

  private(set) var failures = 0
  private let files: FileTree
  private let title: String
  private var progress: Progress
  /// Folders that were gone into. None is twice: where damage leads to the same ones again and again, there
  /// would be no end.
  private var visited: Set<ItemID> = []
  private var depth = 0
  /// Where the first name of each item with several was copied to.
  private var copied: [UInt64: String] = [:]

  init(_ files: FileTree, title: String) {
    self.files = files
    self.title = title
    progress = Progress(of: 0, title)
  }

  mutating func run(_ item: ItemID, to place: consuming CopyPlace) {
    // Only for who sees it: it is a walk over everything.
    if Terminal.errorsAreSeen { progress = Progress(of: size(of: item), title) }
    visited = []
    copy(item, into: place.folder.number, place.name, path: place.path)
    progress.end()
  }

  /// In bytes, of all files; what cannot be read is told when it is copied.
  private mutating func size(of item: ItemID) -> UInt64 {
    guard depth < Self.deepest, let attributes = try? files.attributes(of: item) else { return 0 }
    guard attributes.kind == .folder else { return attributes.kind == .file ? attributes.size : 0 }
    guard visited.insert(item).inserted, let content = try? files.folder(item) else { return 0 }
    depth += 1
    defer { depth -= 1 }
    return content.entries.reduce(0) { $0 &+ size(of: $1.item) }
  }

  private mutating func copy(_ item: ItemID, into folder: CInt, _ name: [UInt8], path: String) {
    do throws(DiskError) {
      let attributes = try files.attributes(of: item)
      let target = HostName(folder, name, path)
      switch attributes.kind {
      case .folder:
        try copyFolder(item, attributes, to: target)
        return
      case .file:
        if attributes.links > 1 {
          let serial = attributes.serial ?? item.number
          if let first = copied[serial], target.link(to: first) { return }
          copied[serial] = path
        }
        try copyFile(item, attributes, to: target)
      case .link:
        try target.makeLink(to: try files.target(of: item))
      case .characterDevice, .blockDevice, .pipe, .socket:
        try target.makeSpecial(attributes)
      }
      try target.set(attributes)
    } catch {
      tell(error)
    }
  }

  private mutating func copyFolder(
    _ item: ItemID, _ attributes: FileAttributes, to target: borrowing HostName
  ) throws(DiskError) {
    guard depth < Self.deepest, visited.insert(item).inserted else {
      throw DiskError(
        .malformed, "the folder is inside itself or in two places", path: target.path)
    }
    depth += 1
    defer { depth -= 1 }
    let folder = try target.makeFolder()
    do throws(DiskError) {
      let content = try files.folder(item)
      for entry in content.entries {
        copy(
          entry.item, into: folder.number, entry.name.bytes,
          path: PathParts.join(target.path, entry.name.text))
      }
      if let damage = content.damage { throw damage }
    } catch {
      tell(error)
    }
    // After its content, which would change its time, and which a mode could forbid.
    try HostName.set(attributes, on: folder.number, target.path)
  }

  private mutating func copyFile(
    _ item: ItemID, _ attributes: FileAttributes, to target: borrowing HostName
  ) throws(DiskError) {
    let content = try files.content(of: item)
    let file = try target.makeFile()
    guard ftruncate(file.number, off_t(clamping: content.size)) == 0 else {
      throw DiskError(system: errno, "cannot be written", path: target.path)
    }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    var place = DiskOffset.start
    // Holes of the image are holes of the copy.
    while place.bytes < content.size, let data = try content.nextData(from: place) {
      let hole = try content.nextHole(from: data)
      place = data
      while place < hole {
        let count = Int(min(UInt64(bytes.count), hole.bytes - place.bytes))
        var elements = bytes.mutableSpan
        var buffer = unsafe elements.mutableBytes
        var piece = buffer._mutatingExtracting(0..<count)
        try content.read(at: place, into: &piece)
        try HostName.write(piece.bytes, at: place.bytes, to: file.number, target.path)
        place = place + UInt64(count)
        progress.advance(by: UInt64(count))
      }
    }
  }

  private mutating func tell(_ error: DiskError) {
    failures += 1
    progress.end()
    Terminal.say("\(error)")
  }
}
