internal import DiskCore

/// FAT12, FAT16 and FAT32, read-only.
///
/// An item's number is the place of its short directory entry, in units of 32 bytes; the root, which has
/// none, is 0, where the boot sector is.
final class FATFileSystem: FileSystem {
  /// In entries: what DOS, Windows and Linux allow.
  private static let longestFolder: UInt64 = 65536

  let type = "vfat"
  let root = ItemID(0)
  let notes: [String]

  private let volume: Volume
  private let layout: FATLayout
  private let table: ClusterTable
  private let codePage: OEMCodePage

  /// The FAT file system in a volume; nil where there is none. Reads the boot sector and, where that has
  /// no name, the first bytes of the FAT.
  ///
  /// - Throws: what is wrong with the boot sector of one that calls itself FAT; `invalidRequest` where
  ///   there is no such code page as `FileSystemOptions.codePage`.
  static func open(_ volume: Volume) throws(DiskError) -> FATFileSystem? {
    guard let layout = try FATLayout(volume) else { return nil }
    return try FATFileSystem(volume, layout)
  }

  private init(_ volume: Volume, _ layout: FATLayout) throws(DiskError) {
    self.volume = volume
    self.layout = layout
    notes = layout.notes
    codePage = try OEMCodePage(volume.options.codePage)
    table = try ClusterTable(layout.width, in: volume, layout.tables, heap: layout.heap)
  }

  func lookupKey(of name: FileName) -> FileName { UpperCase.of(name) }

  func attributes(of item: ItemID) throws(DiskError) -> FileAttributes {
    guard item != root else { return try folderAttributes(FileAttributes(.folder), of: item) }
    let entry = try entry(of: item)
    var attributes = entry.attributes(east: volume.options.localTimeOffset)
    guard entry.kind != .folder else { return try folderAttributes(attributes, of: item) }
    attributes.size = UInt64(entry.size)
    attributes.allocatedBytes = layout.heap.allocated(for: attributes.size)
    return attributes
  }

  /// A folder has no size of its own: it is as long as what it is stored in.
  private func folderAttributes(
    _ attributes: FileAttributes, of folder: ItemID
  ) throws(DiskError) -> FileAttributes {
    var attributes = attributes
    switch try place(of: folder) {
    case .region(_, let count):
      attributes.size = count
    case .clusters(let runs, let heap):
      let most = heap.clusters(for: Self.longestFolder * UInt64(FATEntry.byteCount))
      attributes.size = try runs.count(limit: most) * heap.clusterSize
    }
    attributes.allocatedBytes = attributes.size
    attributes.permissions = 0o755
    return attributes
  }

  func forEachEntry(
    of folder: ItemID, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError) {
    var longName = LongName()
    let codePage = try codePage.reader()
    let pieces = FolderPieces(
      volume: volume, place: try place(of: folder),
      longest: Self.longestFolder * UInt64(FATEntry.byteCount))
    try pieces.visitAll { (piece) throws(DiskError) in
      for at in stride(from: 0, to: piece.count, by: FATEntry.byteCount) {
        switch try FATEntry.use(piece, at: at) {
        case .last: return false
        case .deleted, .label: longName.reset()
        case .longName: try longName.take(piece, at: at)
        case .item:
          let entry = try FATEntry(piece, at: at, isFAT32: layout.width == .fat32)
          let long = longName.name(for: entry.shortName)
          guard !entry.isDots else { continue }
          let short = ShortName.text(of: entry, codePage)
          let item = ItemID((piece.base + UInt64(at)) / UInt64(FATEntry.byteCount))
          let found = FolderEntry(
            long ?? short, item, entry.kind, alias: long == nil ? nil : short)
          guard visit(found) else { return false }
        }
      }
      return true
    }
  }

  func target(of link: ItemID) throws(DiskError) -> FileName {
    throw DiskError(.invalidRequest, "FAT has no symbolic links", path: volume.storage.path)
  }

  func content(of file: ItemID) throws(DiskError) -> any FileContent {
    guard file != root, case let entry = try entry(of: file), entry.kind == .file else {
      throw DiskError(.invalidRequest, "a folder has no content", path: volume.storage.path)
    }
    let size = UInt64(entry.size)
    let chain = ClusterChain(
      from: entry.firstCluster, wanted: layout.heap.clusters(for: size), in: table)
    return ClusterContent(
      .chain(chain), size: size, written: size, heap: layout.heap, in: volume)
  }

  /// - Throws: `notFound` where there is no entry of a file or a folder.
  private func entry(of item: ItemID) throws(DiskError) -> FATEntry {
    let (place, overflow) = item.number.multipliedReportingOverflow(by: UInt64(FATEntry.byteCount))
    var isInside = layout.heap.cluster(at: place) != nil
    if case .region(let start, let count) = layout.root {
      isInside = isInside || place >= start && place < start + count
    }
    guard !overflow, isInside else { throw nothing(at: place) }
    let reader = try volume.reader(at: DiskOffset(place), count: FATEntry.byteCount)
    guard try FATEntry.use(reader, at: 0) == .item else { throw nothing(at: place) }
    return try FATEntry(reader, at: 0, isFAT32: layout.width == .fat32)
  }

  private func nothing(at place: UInt64) -> DiskError {
    DiskError(
      .notFound, "there is no directory entry here", path: volume.storage.path, offset: place)
  }

  private func place(of folder: ItemID) throws(DiskError) -> FolderPieces.Place {
    let first: UInt32
    if folder != root {
      let entry = try entry(of: folder)
      guard entry.kind == .folder else {
        throw DiskError(.invalidRequest, "a file is no folder", path: volume.storage.path)
      }
      first = entry.firstCluster
    } else {
      switch layout.root {
      case .region(let start, let count): return .region(start: start, count: count)
      case .chain(let cluster): first = cluster
      }
    }
    // One more than allowed, by which a longer one is known.
    let wanted = layout.heap.clusters(for: Self.longestFolder * UInt64(FATEntry.byteCount)) + 1
    return .clusters(
      .chain(ClusterChain(from: first, wanted: wanted, in: table)), of: layout.heap)
  }
}
