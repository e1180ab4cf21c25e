internal import DiskCore

/// The clusters of an image and their L2 tables: what the disk and its snapshots have in common.
final class QCOW2Clusters: Sendable {
  let layout: QCOW2Layout
  /// The image, where all tables are.
  let source: any Storage
  /// Where the clusters are: the image, or its data file.
  let data: any Storage
  private let hasParent: Bool
  private let tables: TablePages<UInt64>
  private let decoder: QEMUClusterDecoder
  /// Where the image's own header and tables are, in whole clusters: no cluster can be there.
  private let structures: [Range<UInt64>]

  init(
    _ layout: QCOW2Layout, source: any Storage, data: any Storage, hasParent: Bool,
    decoder: QEMUClusterDecoder, structures: [Range<UInt64>]
  ) {
    self.layout = layout
    self.source = source
    self.data = data
    self.hasParent = hasParent
    self.decoder = decoder
    self.structures = structures
    tables = TablePages(in: source, entriesPerTable: layout.wordsPerTable, .big)
  }

  /// What is not allocated at `offset`.
  func nothing(at offset: DiskOffset, length: UInt64) -> Extent {
    Extent(hasParent ? .below(offset) : .zero, length: length)
  }

  /// Where the data at `offset` is, by the L2 table at `table` that maps it.
  func extent(
    at offset: DiskOffset, limit: UInt64, by table: FileOffset
  ) throws(DiskError) -> Extent {
    let mask = layout.clusterSize - 1
    let rest = (UInt64(1) << UInt64(layout.tableBits + layout.clusterBits)) - 1
    let restOfTable = rest - (offset.bytes & rest) + 1
    if let structure = structures.first(where: { $0.contains(table.bytes) }) {
      return unreadable(
        .malformed, "an L2 table lies on the image's own header or tables", source, structure,
        at: table.bytes, restOfTable)
    }
    guard table.bytes < source.size, layout.clusterSize <= source.size - table.bytes else {
      return unreadable(
        .truncated, "an L2 table lies past the end of the file", source, at: table.bytes,
        restOfTable)
    }
    let slot =
      Int((offset.bytes & rest) >> UInt64(layout.clusterBits)) * layout.wordsPerEntry
    let page = try tables.page(ofTableAt: table, holding: slot)
    let words = page.entries
    var index = slot - page.first
    var guest = offset.bytes & ~mask
    let first = QCOW2Entry(words, at: index, layout, guest: guest, within: offset.bytes & mask)
    var length = first.length
    // On through whole clusters, as long as they go on where the last one ended.
    while length < limit, (offset.bytes + length) & mask == 0 {
      index += layout.wordsPerEntry
      guard index < words.count else { break }
      guest += layout.clusterSize
      let next = QCOW2Entry(words, at: index, layout, guest: guest, within: 0)
      guard first.continues(after: length, in: next) else { break }
      length += next.length
    }
    switch first.place {
    case .unallocated: return nothing(at: offset, length: length)
    case .zero: return Extent(.zero, length: length)
    case .data(let place): return stored(at: place, length: length)
    case .compressed(let descriptor):
      let within = Int(offset.bytes & mask)
      let place = decoder.start(of: descriptor)
      if let structure = structures.first(where: { $0.contains(place) }) {
        return unreadable(
          .malformed, "a compressed cluster lies on the image's own header or tables", source,
          structure, at: place, length)
      }
      return Extent(.encoded(decoder, index: descriptor, at: within), length: length)
    case .damaged(let what):
      return unreadable(
        .malformed, "an L2 table has \(what)", source,
        at: table.bytes + UInt64(slot) * 8, length)
    }
  }

  /// Clusters in a row from `place` on, up to what cannot be one.
  private func stored(at place: UInt64, length: UInt64) -> Extent {
    let mask = layout.clusterSize - 1
    let cluster = place & ~mask
    let rest = min(length, layout.clusterSize - (place & mask))
    var length = length
    if !layout.hasDataFile {
      for structure in structures {
        if structure.contains(cluster) {
          return unreadable(
            .malformed, "a cluster lies on the image's own header or tables", source, structure,
            at: cluster, rest)
        }
        if structure.lowerBound > place { length = min(length, structure.lowerBound - place) }
      }
    }
    guard place < data.size else {
      // QEMU ends the file where the data of its last cluster ends: the rest of it is zeros.
      guard cluster >= data.size else { return Extent(.zero, length: rest) }
      return unreadable(
        .truncated, "a cluster lies past the end of the file", data, at: cluster, rest)
    }
    return Extent(
      .stored(data, at: FileOffset(place)), length: min(length, data.size - place))
  }

  private func unreadable(
    _ kind: DiskError.Kind, _ message: String, _ storage: any Storage,
    _ structure: Range<UInt64>? = nil, at place: UInt64, _ length: UInt64
  ) -> Extent {
    let range = structure.map { " (bytes \($0.lowerBound) to \($0.upperBound - 1))" } ?? ""
    return Extent(
      .unreadable(DiskError(kind, message + range, path: storage.path, offset: place)),
      length: length)
  }
}
