internal import DiskCore

/// The disk of a QCOW2 image, or of one of its snapshots: an L1 table over the image's clusters.
final class QCOW2Image: ImageLayer {
  /// Bit 63 of an L1 entry: the L2 table is referred to once.
  private static let copied: UInt64 = 1 << 63

  let size: UInt64
  let description: LayerDescription
  private let clusters: QCOW2Clusters
  private let l1: PagedTable<UInt64>
  private let l1Start: FileOffset
  /// The bytes of the disk that an L2 table maps, as a power of two.
  private let spanBits: UInt64

  /// - Parameters:
  ///   - table: where the L1 table is, and how many entries it has.
  ///   - isWhole: whether the table must be long enough for the disk; what it does not reach is not
  ///     allocated otherwise.
  /// - Throws: `malformed` for a table that is not aligned, lies on the header or is too short,
  ///   `truncated` for one that does not lie within the file; each naming `field`, the place in the
  ///   file that says so.
  init(
    _ clusters: QCOW2Clusters, size: UInt64, table: (offset: UInt64, count: UInt32),
    isWhole: Bool, field: UInt64, description: LayerDescription
  ) throws(DiskError) {
    let layout = clusters.layout
    let path = clusters.source.path
    let spanBits = UInt64(layout.clusterBits + layout.tableBits)
    let needed = size >> spanBits + (size & (1 << spanBits - 1) == 0 ? 0 : 1)
    guard needed <= UInt64(table.count) || !isWhole else {
      throw DiskError(
        .malformed,
        "a disk of \(size) bytes needs \(needed) entries in the L1 table, which has \(table.count)",
        path: path, offset: field)
    }
    let (end, overflow) = table.offset.addingReportingOverflow(UInt64(table.count) * 8)
    guard !overflow, end <= clusters.source.size else {
      throw DiskError(
        .truncated,
        "an L1 table of \(table.count) entries at byte \(table.offset) reaches past the end of the "
          + "file", path: path, offset: field)
    }
    guard table.offset % layout.clusterSize == 0, table.offset > 0 || table.count == 0 else {
      throw DiskError(
        .malformed, "the L1 table cannot be at byte \(table.offset)", path: path, offset: field)
    }
    l1Start = FileOffset(table.offset)
    // Entries beyond the disk's end are for a virtual machine's state.
    l1 = try PagedTable(
      in: clusters.source, at: l1Start, count: Int(min(needed, UInt64(table.count))), .big)
    self.clusters = clusters
    self.size = size
    self.spanBits = spanBits
    self.description = description
  }

  /// A bound: L2 tables are as many as are allocated, and all of them are in the file.
  var tableBytes: UInt64 {
    let all = UInt64(l1.count) << UInt64(clusters.layout.clusterBits)
    return l1.byteCount + min(all, clusters.source.size)
  }

  var files: [any Storage] {
    clusters.layout.hasDataFile
      ? clusters.source.parts + clusters.data.parts : clusters.source.parts
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let span = UInt64(1) << spanBits
    let index = Int(offset.bytes >> spanBits)
    let within = offset.bytes & (span - 1)
    guard index < l1.count else {
      return clusters.nothing(at: offset, length: size - offset.bytes)
    }
    let page = try l1.page(holding: index)
    let entry = page.entries[index - page.first] & ~Self.copied
    guard entry != 0 else {
      return clusters.nothing(
        at: offset, length: unallocatedRun(from: index, in: page, limit) - within)
    }
    guard entry & ~QCOW2Entry.offset == 0, entry & (clusters.layout.clusterSize - 1) == 0 else {
      return Extent(
        .unreadable(
          DiskError(
            .malformed, "an L1 entry has reserved bits set or is not aligned",
            path: clusters.source.path, offset: l1Start.bytes + UInt64(index) * 8)),
        length: span - within)
    }
    return try clusters.extent(at: offset, limit: limit, by: FileOffset(entry))
  }

  /// How many bytes the L2 tables from `index` on would map that are not there, as far as the page
  /// and the caller's interest reach.
  private func unallocatedRun(
    from index: Int, in page: PagedTable<UInt64>.Page, _ limit: UInt64
  ) -> UInt64 {
    let wanted = Int(min(limit >> spanBits + 2, UInt64(page.entries.count)))
    let first = index - page.first
    let last = min(page.entries.count, first + wanted)
    var end = first + 1
    while end < last, page.entries[end] & ~Self.copied == 0 { end += 1 }
    return UInt64(end - first) << spanBits
  }
}
