internal import Synchronization

/// A range of a window and what it holds, as `map` prints it.
public struct MapEntry: Sendable {
  public enum Content: Sendable {
    case data
    case compressed
    case zero
    case unreadable(DiskError)
  }

  /// From the window's start.
  public let offset: DiskOffset
  public var length: UInt64
  public let content: Content
  /// Which layer of the stack says so, 0 for the top one.
  public let layer: Int
  /// The file that the bytes come from; nil for zeros and for what is unreadable.
  public let path: String?
  /// Where in that file they are; nil where they are compressed.
  public let fileOffset: FileOffset?
}

extension Window {
  /// What the window holds from `offset` on.
  ///
  /// Stored ranges are asked further for the holes of the file they are in, so that a sparse raw
  /// file and a dynamic VHD with the same content give the same map.
  ///
  /// - Parameters:
  ///   - offset: less than `size`.
  ///   - limit: the answer is no longer than this; at least 1.
  public func mapEntry(
    at offset: DiskOffset, limit: UInt64 = .max
  ) throws(DiskError) -> MapEntry {
    var cursor = RegionCursor()
    return try mapEntry(at: offset, limit: limit, &cursor)
  }

  func mapEntry(
    at offset: DiskOffset, limit: UInt64 = .max, _ cursor: inout RegionCursor
  ) throws(DiskError) -> MapEntry {
    let (extent, layer) = try disk.resolve(
      start + offset.bytes, limit: min(limit, size - offset.bytes))
    func entry(
      _ content: MapEntry.Content, _ length: UInt64, _ path: String? = nil,
      _ at: FileOffset? = nil
    ) -> MapEntry {
      MapEntry(
        offset: offset, length: length, content: content, layer: layer, path: path,
        fileOffset: at)
    }
    switch extent.place {
    case .zero, .below:
      return entry(.zero, extent.length)
    case .unreadable(let error):
      return entry(.unreadable(error), extent.length)
    case .stored(let storage, let at):
      let region = try cursor.region(of: storage, at: at, limit: extent.length)
      let length = min(extent.length, max(1, region.length))
      if region.isHole { return entry(.zero, length) }
      return region.isCompressed
        ? entry(.compressed, length, storage.path) : entry(.data, length, storage.path, at)
    case .encoded(let decoder, _, _):
      return entry(.compressed, extent.length, decoder.source.path)
    }
  }

  /// Calls `visit` for each range of the window in order, neighbours of one kind joined: zeros with
  /// zeros, data with data that follows it in the same file, compressed data of one file, and what
  /// is unreadable, for which the first reason stands.
  public func forEachMapEntry(
    _ visit: (MapEntry) throws(DiskError) -> Void
  ) throws(DiskError) {
    var open: MapEntry? = nil
    var place = DiskOffset.start
    var cursor = RegionCursor()
    while place.bytes < size {
      let next = try mapEntry(at: place, &cursor)
      place = place + next.length
      if var current = open {
        if current.joins(next) {
          current.length += next.length
          open = current
          continue
        }
        try visit(current)
      }
      open = next
    }
    if let open { try visit(open) }
  }

  /// The first offset at or after `offset` that holds data (or is damaged), as `SEEK_DATA`; nil
  /// where only zeros follow.
  public func nextData(from offset: DiskOffset) throws(DiskError) -> DiskOffset? {
    try next(from: offset) { if case .zero = $0 { false } else { true } }
  }

  /// The first offset at or after `offset` that reads as zeros, as `SEEK_HOLE`: the end of the
  /// window where none does.
  public func nextHole(from offset: DiskOffset) throws(DiskError) -> DiskOffset {
    try next(from: offset) { if case .zero = $0 { true } else { false } } ?? DiskOffset(size)
  }

  /// The first range at or after `offset` that holds data (or is damaged); nil where only zeros follow.
  ///
  /// - Parameters:
  ///   - offset: in bytes; at most `size`.
  ///   - cursor: the same for windows on one disk that nobody writes to, so that a walk over many small
  ///     ones costs few system calls.
  public func data(
    from offset: DiskOffset, _ cursor: inout RegionCursor
  ) throws(DiskError) -> Range<UInt64>? {
    var data: Range<UInt64>? = nil
    var place = offset
    while place.bytes < size {
      let entry = try mapEntry(at: place, &cursor)
      place = place + entry.length
      if case .zero = entry.content {
        if data != nil { break }
      } else {
        data = (data?.lowerBound ?? entry.offset.bytes)..<place.bytes
      }
    }
    return data
  }

  private func next(
    from offset: DiskOffset, where holds: (MapEntry.Content) -> Bool
  ) throws(DiskError) -> DiskOffset? {
    var place = offset
    var cursor = RegionCursor()
    while place.bytes < size {
      let entry = try mapEntry(at: place, &cursor)
      if holds(entry.content) { return place }
      place = place + entry.length
    }
    return nil
  }
}

extension MapEntry {
  /// Whether `next`, which starts where this one ends, is more of the same.
  fileprivate func joins(_ next: MapEntry) -> Bool {
    guard layer == next.layer else { return false }
    switch (content, next.content) {
    case (.zero, .zero), (.unreadable, .unreadable):
      return true
    case (.compressed, .compressed):
      return path == next.path
    case (.data, .data):
      return path == next.path && fileOffset?.adding(length) == next.fileOffset
    default:
      return false
    }
  }
}

/// Remembers the region of each file that was asked for last, so that a walk over a million blocks of a
/// few files costs a system call for each of the files' holes and not for each block.
public struct RegionCursor: Sendable {
  private struct Region: Sendable {
    let storage: any Storage
    let range: Range<UInt64>
    let isHole: Bool
    let isCompressed: Bool
  }

  /// As many files as a chain usually has; for more, all are forgotten.
  private static let most = 64
  private var regions: [ObjectIdentifier: Region] = [:]

  public init() {}

  /// As `Storage.region(at:limit:)`.
  mutating func region(
    of storage: any Storage, at offset: FileOffset, limit: UInt64
  ) throws(DiskError) -> StorageRegion {
    let key = ObjectIdentifier(storage)
    if let known = regions[key], known.range.contains(offset.bytes) {
      return StorageRegion(
        isHole: known.isHole, isCompressed: known.isCompressed,
        length: min(limit, known.range.upperBound - offset.bytes))
    }
    let whole = try storage.region(at: offset, limit: Limits.largestDisk)
    // A driver that answers with a place near the end of 64 bits is refused by reads, not here.
    let end = offset.adding(max(1, whole.length))?.bytes ?? .max
    if regions.count >= Self.most { regions = [:] }
    regions[key] = Region(
      storage: storage, range: offset.bytes..<end, isHole: whole.isHole,
      isCompressed: whole.isCompressed)
    return StorageRegion(
      isHole: whole.isHole, isCompressed: whole.isCompressed,
      length: min(limit, end - offset.bytes))
  }
}
