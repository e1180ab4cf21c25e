internal import DiskCore
internal import ImageFormats

/// What an entry of an L2 table can be in a file.
struct L2EntryRules: Sendable {
  let geometry: OverlayGeometry
  /// For messages.
  let path: String
  /// How many clusters the file has.
  let end: UInt64
  /// Where the file's own tables are.
  let metadata: Set<UInt64>
  /// Nil where clusters cannot be compressed.
  let compressed: QCOW2CompressedClusters?

  /// The entries of a table that cannot be right, and what is wrong with each.
  func faults(in words: [UInt64], at table: UInt64) -> [Int: DiskError] {
    var faults: [Int: DiskError] = [:]
    for index in 0..<words.count / 2 {
      let entry = L2Entry(descriptor: words[2 * index], bitmap: words[2 * index + 1])
      guard entry != .absent, let (kind, what) = fault(entry) else { continue }
      faults[index] = DiskError(
        kind, what, path: path, offset: geometry.place(ofEntry: index, inTableAt: table))
    }
    return faults
  }

  private func fault(_ entry: L2Entry) -> (DiskError.Kind, String)? {
    if entry.isCompressed { return compressedFault(entry) }
    guard entry.descriptor & ~(L2Entry.copied | L2Entry.hostMask) == 0 else {
      return (.malformed, "an entry with reserved bits set")
    }
    if entry.allocated & entry.zeros != 0 {
      return (.malformed, "a subcluster that is both stored and zero")
    }
    guard entry.host != 0 else {
      return entry.allocated == 0 ? nil : (.malformed, "stored subclusters of no cluster")
    }
    guard entry.host.isMultiple(of: geometry.clusterSize) else {
      return (.malformed, "a cluster at \(entry.host), which is no multiple of its size")
    }
    let cluster = entry.host / geometry.clusterSize
    guard cluster < end else { return (.truncated, "a cluster past the end of the file") }
    return metadata.contains(cluster)
      ? (.malformed, "a cluster on top of the overlay's own tables") : nil
  }

  private func compressedFault(_ entry: L2Entry) -> (DiskError.Kind, String)? {
    guard let compressed else { return (.unsupported, "a compressed cluster in an overlay") }
    // It is never written in place.
    guard !entry.isCopied else { return (.malformed, "an entry with reserved bits set") }
    let run = clusters(of: entry)
    guard run.upperBound <= end else {
      return (
        .truncated,
        "a compressed cluster at \(compressed.bytes(of: entry.descriptor).lowerBound), past the end "
          + "of the file"
      )
    }
    return run.contains { metadata.contains($0) }
      ? (.malformed, "a compressed cluster on top of the file's own tables") : nil
  }

  /// The clusters of the file that an entry without a fault refers to.
  func clusters(of entry: L2Entry) -> Range<UInt64> {
    if entry.isCompressed, let compressed {
      let bytes = compressed.bytes(of: entry.descriptor)
      return bytes.lowerBound / geometry.clusterSize..<geometry.clusters(bytes.upperBound)
    }
    guard entry.host != 0 else { return 0..<0 }
    let cluster = entry.host / geometry.clusterSize
    return cluster..<cluster + 1
  }

  /// Calls `visit` for each entry of the table at `place` that refers to clusters.
  ///
  /// - Throws: what is wrong with an entry.
  func forEachReference(
    ofTableAt place: UInt64, in file: any Storage,
    _ visit: (_ index: Int, Range<UInt64>) throws(DiskError) -> Void
  ) throws(DiskError) {
    try forEachEntry(ofTableAt: place, in: file) { (index, _, run) throws(DiskError) in
      try visit(index, run)
    }
  }

  /// As `forEachReference`, with the entry.
  func forEachEntry(
    ofTableAt place: UInt64, in file: any Storage,
    _ visit: (_ index: Int, L2Entry, Range<UInt64>) throws(DiskError) -> Void
  ) throws(DiskError) {
    let words = try geometry.words(ofTableAt: place, in: file)
    if let worst = faults(in: words, at: place).min(by: { $0.key < $1.key }) { throw worst.value }
    for index in 0..<geometry.entriesPerTable {
      let entry = L2Entry(descriptor: words[2 * index], bitmap: words[2 * index + 1])
      let run = clusters(of: entry)
      if !run.isEmpty { try visit(index, entry, run) }
    }
  }
}
