internal import DiskCore

/// A disk of clusters that are found by two levels of tables of 64-bit entries: QCOW, QED. Tables
/// are read page by page as they are needed.
final class TwoLevelImage: ImageLayer {
  /// What an entry of the second level says.
  enum Place {
    case unallocated
    case zero
    /// Where the cluster starts.
    case data(UInt64)
    /// The descriptor of a compressed cluster.
    case compressed(UInt64)
    case damaged(StaticString)
  }

  /// What the tables look like.
  struct Layout: Sendable {
    /// A cluster's size, as a power of two.
    let clusterBits: UInt64
    /// How many entries a table of the second level has, as a power of two.
    let tableBits: UInt64
    /// What the second level's tables are aligned to, in bytes.
    let tableAlignment: UInt64
    let order: ByteReader.ByteOrder
    /// What an entry of the second level says.
    let place: @Sendable (UInt64) -> Place

    /// The bytes of the disk that a table of the second level maps, as a power of two.
    var spanBits: UInt64 { clusterBits + tableBits }
    var clusterSize: UInt64 { 1 << clusterBits }
    var tableBytes: UInt64 { 8 << tableBits }

    /// How many entries the first level needs for a disk of `size` bytes.
    func tables(for size: UInt64) -> UInt64 {
      size >> spanBits + (size & (1 << spanBits - 1) == 0 ? 0 : 1)
    }
  }

  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  private let layout: Layout
  private let hasParent: Bool
  private let first: PagedTable<UInt64>
  private let firstStart: FileOffset
  private let second: TablePages<UInt64>
  private let decoder: QEMUClusterDecoder?
  /// Where the image's header and its first table are: nothing else can be there.
  private let structures: [Range<UInt64>]

  /// - Parameters:
  ///   - size: of the disk in bytes; at most `Limits.largestDisk`.
  ///   - table: where the first level's table starts.
  ///   - headerBytes: of the file, which the header takes.
  ///   - decoder: for images whose entries can be of compressed clusters.
  /// - Throws: `truncated` where the first level's table does not lie within the file.
  init(
    _ source: any Storage, size: UInt64, _ layout: Layout, table: FileOffset, headerBytes: UInt64,
    hasParent: Bool, decoder: QEMUClusterDecoder? = nil, description: LayerDescription
  ) throws(DiskError) {
    first = try PagedTable(
      in: source, at: table, count: Int(layout.tables(for: size)), layout.order)
    second = TablePages(in: source, entriesPerTable: 1 << Int(layout.tableBits), layout.order)
    self.source = source
    self.size = size
    self.layout = layout
    self.hasParent = hasParent
    self.decoder = decoder
    self.description = description
    firstStart = table
    structures = [0..<headerBytes, table.bytes..<table.bytes + first.byteCount]
  }

  /// A bound: the second level's tables are all in the file.
  var tableBytes: UInt64 {
    let (all, overflow) = UInt64(first.count).multipliedReportingOverflow(by: layout.tableBytes)
    return first.byteCount + min(overflow ? .max : all, source.size)
  }

  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = Int(offset.bytes >> layout.spanBits)
    let within = offset.bytes & (1 << layout.spanBits - 1)
    let page = try first.page(holding: index)
    let table = page.entries[index - page.first]
    guard table != 0 else {
      return nothing(offset, unallocatedRun(from: index, in: page, limit) - within)
    }
    let rest = 1 << layout.spanBits - within
    guard table % layout.tableAlignment == 0 else {
      return unreadable(
        .malformed, "the first table names a second one that is not aligned",
        firstStart.bytes + UInt64(index) * 8, rest)
    }
    guard table < source.size, layout.tableBytes <= source.size - table else {
      return unreadable(.truncated, "a table lies past the end of the file", table, rest)
    }
    guard !structures.contains(where: { $0.overlaps(table..<table + layout.tableBytes) }) else {
      return unreadable(
        .malformed, "a table lies on the image's own header or first table", table, rest)
    }
    return try extent(at: offset, limit: limit, by: FileOffset(table))
  }

  /// How many bytes tables from `index` on would map that are not there, as far as the page and the
  /// caller's interest reach.
  private func unallocatedRun(
    from index: Int, in page: PagedTable<UInt64>.Page, _ limit: UInt64
  ) -> UInt64 {
    let wanted = Int(min(limit >> layout.spanBits + 2, UInt64(page.entries.count)))
    let start = index - page.first
    let last = min(page.entries.count, start + wanted)
    var end = start + 1
    while end < last, page.entries[end] == 0 { end += 1 }
    return UInt64(end - start) << layout.spanBits
  }

  /// Where the data at `offset` is, by the table of the second level that maps it.
  private func extent(
    at offset: DiskOffset, limit: UInt64, by table: FileOffset
  ) throws(DiskError) -> Extent {
    let unit = layout.clusterSize
    let within = offset.bytes & (unit - 1)
    let slot = Int(offset.bytes >> layout.clusterBits & (1 << layout.tableBits - 1))
    let page = try second.page(ofTableAt: table, holding: slot)
    let entries = page.entries
    let index = slot - page.first
    let place = layout.place(entries[index])
    // On through clusters that go on where the last one ended.
    var length = unit - within
    var next = index + 1
    while length < limit, next < entries.count {
      switch (place, layout.place(entries[next])) {
      case (.unallocated, .unallocated), (.zero, .zero): break
      case (.data(let start), .data(let other)) where other == start &+ within &+ length: break
      default: next = entries.count
      }
      guard next < entries.count else { break }
      length += unit
      next += 1
    }
    switch place {
    case .unallocated: return nothing(offset, length)
    case .zero: return Extent(.zero, length: length)
    case .data(let start): return stored(start, within, length)
    case .compressed(let descriptor):
      guard let decoder,
        !structures.contains(where: { $0.contains(decoder.start(of: descriptor)) })
      else {
        return unreadable(
          .malformed, "a compressed cluster lies on the image's own header or first table",
          table.bytes + UInt64(slot) * 8, length)
      }
      return Extent(
        .encoded(decoder, index: descriptor, at: Int(within)), length: length)
    case .damaged(let what):
      return unreadable(
        .malformed, "a table names \(what)", table.bytes + UInt64(slot) * 8, length)
    }
  }

  /// `length` bytes, `within` the cluster at `start` and in those that follow it, up to what cannot
  /// be one.
  private func stored(_ start: UInt64, _ within: UInt64, _ length: UInt64) -> Extent {
    let rest = min(length, layout.clusterSize - within)
    guard start < source.size, within < source.size - start else {
      return unreadable(.truncated, "a cluster lies past the end of the file", start, rest)
    }
    let place = start + within
    var length = min(length, source.size - place)
    for structure in structures {
      if structure.overlaps(start..<start + layout.clusterSize) {
        return unreadable(
          .malformed, "a cluster lies on the image's own header or first table", start, rest)
      }
      if structure.lowerBound > place { length = min(length, structure.lowerBound - place) }
    }
    return Extent(.stored(source, at: FileOffset(place)), length: length)
  }

  private func nothing(_ offset: DiskOffset, _ length: UInt64) -> Extent {
    Extent(hasParent ? .below(offset) : .zero, length: length)
  }

  private func unreadable(
    _ kind: DiskError.Kind, _ message: String, _ place: UInt64, _ length: UInt64
  ) -> Extent {
    Extent(
      .unreadable(DiskError(kind, message, path: source.path, offset: place)), length: length)
  }
}
