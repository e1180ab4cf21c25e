internal import DiskCore

/// An expanding Parallels image: a header, a table, clusters (QEMU's docs/interop/parallels.txt).
final class ParallelsImage: ImageLayer {
  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  private let table: PagedTable<UInt32>
  private let clusterSize: UInt64
  /// How many bytes one more in an entry is, and by how much the next cluster's entry is larger.
  private let unit: UInt64
  private let step: UInt32
  /// Where the header and the table end.
  private let structuresEnd: UInt64
  private let hasParent: Bool

  /// - Parameter hasParent: whether what the table leaves out is another image's. The image does not
  ///   say: its bundle's descriptor does.
  /// - Throws: `truncated` where the table does not lie within the file.
  init(
    _ source: any Storage, header: ParallelsHeader, hasParent: Bool, description: LayerDescription
  ) throws(DiskError) {
    table = try PagedTable(
      in: source, at: FileOffset(UInt64(ParallelsHeader.byteCount)),
      count: Int(header.neededEntries), .little)
    size = header.sectors * 512
    self.source = source
    self.hasParent = hasParent
    self.description = description
    clusterSize = UInt64(header.clusterSectors) * 512
    unit = header.variant == .old ? 512 : clusterSize
    step = header.variant == .old ? header.clusterSectors : 1
    structuresEnd = UInt64(ParallelsHeader.byteCount) + 4 * UInt64(header.tableEntries)
  }

  var tableBytes: UInt64 { table.byteCount }
  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let cluster = Int(offset.bytes / clusterSize)
    let within = offset.bytes % clusterSize
    let page = try table.page(holding: cluster)
    let entry = page.entries[cluster - page.first]
    let wanted = Int(min(limit / clusterSize + 2, UInt64(page.entries.count)))
    guard entry != 0 else {
      let run = page.run(from: cluster, step: 0, most: wanted)
      return Extent(
        hasParent ? .below(offset) : .zero, length: UInt64(run) * clusterSize - within)
    }
    // At most 2³² clusters of 2²⁹ bytes.
    let start = UInt64(entry) * unit
    let place = start + within
    guard start >= structuresEnd else {
      return unreadable(
        .malformed, "a cluster lies on the image's own header or table", at: start,
        clusterSize - within)
    }
    guard place < source.size else {
      return unreadable(
        .truncated, "a cluster lies past the end of the file", at: place, clusterSize - within)
    }
    let run = page.run(from: cluster, step: step, most: wanted)
    return Extent(
      .stored(source, at: FileOffset(place)),
      length: min(UInt64(run) * clusterSize - within, source.size - place))
  }

  private func unreadable(
    _ kind: DiskError.Kind, _ message: String, at place: UInt64, _ length: UInt64
  ) -> Extent {
    Extent(
      .unreadable(DiskError(kind, message, path: source.path, offset: place)), length: length)
  }
}
