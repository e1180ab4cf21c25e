internal import DiskCore

/// exFAT, read-only (Microsoft, "exFAT file system specification").
///
/// An item's number is the place of its first directory entry, in units of 32 bytes, and a bit that says
/// that its folder has no chain: only so can the rest of its entries be found where they go on in the
/// folder's next cluster. The root is 0, where the boot sector is.
final class ExFATFileSystem: FileSystem {
  /// In bytes; section 7.1 of the specification.
  private static let longestFolder: UInt64 = 256 << 20
  /// In an `ItemID`: beside all places of the largest volume that is read.
  private static let inContiguousFolder: UInt64 = 1 << 47

  let type = "exfat"
  let root = ItemID(0)

  private let volume: Volume
  private let boot: ExFATBootRegion
  private let table: ClusterTable
  private let bootNotes: [String]
  private let upCase: Lazy<ExFATUpCase>

  /// The exFAT file system in a volume; nil where there is none. Reads the boot region only.
  ///
  /// - Throws: what is wrong with one that calls itself exFAT.
  static func open(_ volume: Volume) throws(DiskError) -> ExFATFileSystem? {
    guard let (boot, notes) = try ExFATBootRegion.find(in: volume) else { return nil }
    return try ExFATFileSystem(volume, boot, notes)
  }

  private init(
    _ volume: Volume, _ boot: ExFATBootRegion, _ notes: [String]
  ) throws(DiskError) {
    let table = try ClusterTable(
      .exfat, in: volume,
      ClusterTablePlace(starts: [boot.tableStart], byteCount: boot.tableLength), heap: boot.heap)
    self.volume = volume
    self.boot = boot
    self.table = table
    bootNotes =
      boot.volumeSize <= volume.size
      ? notes
      : notes + [
        "exFAT should have \(boot.volumeSize) bytes, of which \(volume.size) are here"
      ]
    let rootPieces = FolderPieces(
      volume: volume, place: .clusters(Self.rootRuns(boot, table), of: boot.heap),
      longest: Self.longestFolder)
    upCase = Lazy { Self.upCase(of: volume, rootPieces, table) }
  }

  var notes: [String] {
    let note: String?
    do throws(DiskError) { note = try upCase.get().note } catch { note = nil }
    return bootNotes + [note].compactMap(\.self)
  }

  func lookupKey(of name: FileName) -> FileName {
    guard let upCase = try? upCase.get() else { return UpperCase.of(name) }
    return upCase.key(of: name)
  }

  func attributes(of item: ItemID) throws(DiskError) -> FileAttributes {
    var attributes: FileAttributes
    if item == root {
      attributes = FileAttributes(.folder, permissions: 0o755)
      let most = boot.heap.clusters(for: Self.longestFolder)
      let clusters = try Self.rootRuns(boot, table).count(limit: most)
      attributes.size = clusters * boot.heap.clusterSize
    } else {
      attributes = try entrySet(of: item).attributes
    }
    attributes.allocatedBytes = boot.heap.allocated(for: attributes.size)
    return attributes
  }

  func forEachEntry(
    of folder: ItemID, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError) {
    let (runs, length) = try stored(of: folder)
    var flag: UInt64 = 0
    if case .contiguous = runs { flag = Self.inContiguousFolder }
    guard length > 0 else { return }
    let pieces = FolderPieces(
      volume: volume, place: .clusters(runs, of: boot.heap), longest: Self.longestFolder)
    var reader = ExFATFolderReader(path: volume.storage.path)
    let east = volume.options.localTimeOffset
    try pieces.visitAll { (piece) throws(DiskError) in
      try reader.take(piece) { (place, set) throws(DiskError) in
        let entries = try ExFATEntrySet(set, east: east)
        let item = ItemID(place / UInt64(ExFATEntrySet.entryLength) | flag)
        return visit(FolderEntry(entries.name, item, entries.kind))
      }
    }
    reader.finish()
    // What is damaged may be what somebody looks for.
    if let damage = reader.damage { throw damage }
  }

  func target(of link: ItemID) throws(DiskError) -> FileName {
    throw DiskError(.invalidRequest, "exFAT has no symbolic links", path: volume.storage.path)
  }

  func content(of file: ItemID) throws(DiskError) -> any FileContent {
    guard file != root, case let entries = try entrySet(of: file), entries.kind == .file else {
      throw DiskError(.invalidRequest, "a folder has no content", path: volume.storage.path)
    }
    return ClusterContent(
      runs(of: entries, wanted: boot.heap.clusters(for: entries.size)), size: entries.size,
      written: entries.written, heap: boot.heap, in: volume)
  }

  /// Where a folder is stored, and its length in bytes.
  private func stored(
    of folder: ItemID
  ) throws(DiskError) -> (runs: ClusterRuns, length: UInt64) {
    guard folder != root else { return (Self.rootRuns(boot, table), Self.longestFolder) }
    let entries = try entrySet(of: folder)
    guard entries.kind == .folder else {
      throw DiskError(.invalidRequest, "a file is no folder", path: volume.storage.path)
    }
    // One more than allowed, by which a longer one is known.
    let wanted = boot.heap.clusters(for: min(entries.size, Self.longestFolder + 1))
    return (runs(of: entries, wanted: wanted), entries.size)
  }

  private func runs(of entries: ExFATEntrySet, wanted: UInt64) -> ClusterRuns {
    entries.isContiguous
      ? .contiguous(first: entries.firstCluster, count: wanted, of: boot.heap)
      : .chain(ClusterChain(from: entries.firstCluster, wanted: wanted, in: table))
  }

  private static func rootRuns(_ boot: ExFATBootRegion, _ table: ClusterTable) -> ClusterRuns {
    let wanted = boot.heap.clusters(for: longestFolder) + 1
    return .chain(ClusterChain(from: boot.root, wanted: wanted, in: table))
  }

  /// The entries of an item, read where its number says that they begin.
  ///
  /// - Throws: `notFound` where no set of entries can begin there.
  private func entrySet(of item: ItemID) throws(DiskError) -> ExFATEntrySet {
    let isContiguous = item.number & Self.inContiguousFolder != 0
    let number = item.number & (Self.inContiguousFolder - 1)
    let (place, overflow) = number.multipliedReportingOverflow(
      by: UInt64(ExFATEntrySet.entryLength))
    guard !overflow, item.number <= ItemID.largest, var cluster = boot.heap.cluster(at: place),
      case let first = try volume.reader(
        at: DiskOffset(place), count: ExFATEntrySet.entryLength),
      try first.u8(at: 0) == ExFATEntrySet.Kind.file
    else {
      throw DiskError(
        .notFound, "there is no directory entry here", path: volume.storage.path, offset: place)
    }
    var bytes: [UInt8] = []
    var at = place
    var missing = try ExFATEntrySet.length(first, at: 0)
    while true {
      let here = min(missing, Int(boot.heap.offset(of: cluster) + boot.heap.clusterSize - at))
      bytes += try volume.reader(at: DiskOffset(at), count: here).bytes
      missing -= here
      guard missing > 0 else { break }
      cluster = try self.cluster(after: cluster, isContiguous)
      at = boot.heap.offset(of: cluster)
    }
    let set = ByteReader(bytes, path: volume.storage.path, base: place)
    return try ExFATEntrySet(set, east: volume.options.localTimeOffset)
  }

  private func cluster(
    after cluster: UInt32, _ isContiguous: Bool
  ) throws(DiskError) -> UInt32 {
    var held = ClusterTable.Held()
    let next = isContiguous ? cluster &+ 1 : nil
    if let next, boot.heap.contains(next) { return next }
    if next == nil, case .next(let linked) = try table.link(after: cluster, &held) { return linked }
    throw DiskError(
      .malformed, "a folder ends in the middle of an entry", path: volume.storage.path,
      offset: boot.heap.offset(of: cluster))
  }

  /// The table of upper case: its entry is in the root, among the first. What keeps it from being read is
  /// a note and no error: every name is compared by it, and nothing is looked for twice.
  private static func upCase(
    of volume: Volume, _ root: FolderPieces, _ table: ClusterTable
  ) -> ExFATUpCase {
    var found: ExFATUpCase?
    do throws(DiskError) {
      try root.visitAll { (piece) throws(DiskError) in
        for at in stride(from: 0, to: piece.count, by: ExFATEntrySet.entryLength) {
          switch try piece.u8(at: at) {
          case ExFATEntrySet.Kind.end: return false
          case ExFATEntrySet.Kind.upCaseTable:
            found = try upCase(piece, at: at, in: volume, table)
            return false
          default: continue
          }
        }
        return true
      }
    } catch {
      return found
        ?? ExFATUpCase(
          without: "exFAT's table of upper case cannot be read: \(error.message); Unicode's is used"
        )
    }
    return found
      ?? ExFATUpCase(without: "exFAT's table of upper case is missing; Unicode's is used")
  }

  private static func upCase(
    _ entry: ByteReader, at place: Int, in volume: Volume, _ table: ClusterTable
  ) throws(DiskError) -> ExFATUpCase {
    let length = try entry.u64(at: place + 24)
    guard length > 0, length <= UInt64(ExFATUpCase.longest) else {
      return ExFATUpCase(
        without: "exFAT's table of upper case has \(length) bytes; Unicode's is used")
    }
    let wanted = table.heap.clusters(for: length)
    let chain = ClusterChain(from: try entry.u32(at: place + 20), wanted: wanted, in: table)
    let content = ClusterContent(
      .chain(chain), size: length, written: length, heap: table.heap, in: volume)
    let stored = try Disk(ContentLayer(content, of: volume), within: volume.window.disk).whole
      .reader(at: .start, count: Int(length))
    return try ExFATUpCase(stored, checksum: try entry.u32(at: place + 4))
  }
}
