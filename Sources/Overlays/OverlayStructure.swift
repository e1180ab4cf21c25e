internal import DiskCore
internal import ImageFormats

/// The tables of a file that name everything else, as they are in the file: header, L1 tables,
/// refcount table, snapshot table. They lie in the file, and none on top of another.
struct OverlayStructure: Sendable {
  let path: String
  let header: OverlayHeader
  /// The active one.
  let l1: [UInt64]
  /// The refcount table.
  let blocks: [UInt64]
  let snapshots: [StoredSnapshot]
  /// How often the snapshots' L1 tables name each L2 table, by its place in the file.
  let snapshotTables: [UInt64: Int]
  /// Nil where clusters cannot be compressed.
  let compressed: QCOW2CompressedClusters?
  /// How many clusters the file has.
  let end: UInt64
  /// The clusters that hold all these, L2 tables and refcount blocks too.
  private(set) var metadata: Set<UInt64> = [0]

  var geometry: OverlayGeometry { header.geometry }

  /// - Throws: `malformed` for tables that cannot be as they are; what reading throws.
  init(
    of file: any Storage, _ header: OverlayHeader, compressed: QCOW2CompressedClusters? = nil
  ) throws(DiskError) {
    let geometry = header.geometry
    self.header = header
    self.compressed = compressed
    path = file.path
    end = geometry.clusters(file.size)
    l1 = try file.words(at: header.l1Offset, count: header.l1Count)
    blocks = try file.words(
      at: header.refcountTableOffset,
      count: Int(header.refcountTableClusters * geometry.clusterSize / 8))
    let table = try StoredSnapshot.all(of: file, header)
    snapshots = table.snapshots
    snapshotTables = try Self.tables(of: snapshots, in: file, geometry)
    try claimTables(snapshotTableBytes: table.bytes)
    let active = try activeTables()
    for cluster in active { try claim(cluster..<cluster + 1) }
    // Snapshots may have these too, and one table together.
    let others = Set(snapshotTables.keys.map { $0 / geometry.clusterSize }).subtracting(active)
    for cluster in others { try claim(cluster..<cluster + 1) }
  }

  /// Of a file that is known to be right.
  init(
    _ header: OverlayHeader, path: String, l1: [UInt64], blocks: [UInt64],
    snapshots: [StoredSnapshot] = [], snapshotTables: [UInt64: Int] = [:], end: UInt64,
    metadata: Set<UInt64>
  ) {
    self.header = header
    self.path = path
    self.l1 = l1
    self.blocks = blocks
    self.snapshots = snapshots
    self.snapshotTables = snapshotTables
    self.end = end
    self.metadata = metadata
    compressed = nil
  }

  /// As if nothing were in the active state. Of a file whose other tables may be damaged.
  init(withoutActiveStateOf file: any Storage, _ header: OverlayHeader) throws(DiskError) {
    let snapshots = try StoredSnapshot.all(of: file, header).snapshots
    self.init(
      header, path: file.path, l1: [UInt64](repeating: 0, count: header.l1Count), blocks: [],
      snapshots: snapshots,
      snapshotTables: try Self.tables(of: snapshots, in: file, header.geometry),
      end: header.geometry.clusters(file.size), metadata: [0])
  }

  /// How often the L1 tables of `snapshots` name each L2 table.
  ///
  /// - Throws: `malformed` for a table that does not lie in the file.
  static func tables(
    of snapshots: [StoredSnapshot], in file: any Storage, _ geometry: OverlayGeometry
  ) throws(DiskError) -> [UInt64: Int] {
    let end = geometry.clusters(file.size)
    var tables: [UInt64: Int] = [:]
    for snapshot in snapshots {
      for (index, entry) in try snapshot.l1(of: file).enumerated() {
        let table = entry & L2Entry.hostMask
        guard table != 0 else { continue }
        guard geometry.isCluster(table, below: end) else {
          throw DiskError(
            .malformed,
            "an L2 table of a snapshot lies at \(table), where there is no cluster of the file",
            path: file.path, offset: snapshot.l1Offset + UInt64(index * 8))
        }
        tables[table, default: 0] += 1
      }
    }
    return tables
  }

  private mutating func claim(_ run: Range<UInt64>) throws(DiskError) {
    for cluster in run {
      guard metadata.insert(cluster).inserted else {
        throw DiskError(.malformed, "two of its tables share a cluster", path: path)
      }
    }
  }

  /// Those that are not L2 tables.
  private mutating func claimTables(snapshotTableBytes: UInt64) throws(DiskError) {
    let unit = geometry.clusterSize
    for (index, block) in blocks.enumerated() where block != 0 {
      try check(block, "a refcount block", at: header.refcountTableOffset + UInt64(index * 8))
      try claim(block / unit..<block / unit + 1)
    }
    let runs: [(at: UInt64, bytes: UInt64)] = [
      (header.l1Offset, UInt64(l1.count) * 8),
      (header.refcountTableOffset, header.refcountTableClusters * unit),
      (header.snapshotsOffset, snapshotTableBytes),
    ]
    for run in runs { try claim(run.at / unit..<run.at / unit + geometry.clusters(run.bytes)) }
    for snapshot in snapshots { try claim(snapshot.l1Run(geometry)) }
  }

  /// The clusters of the active L2 tables.
  private func activeTables() throws(DiskError) -> [UInt64] {
    var clusters: [UInt64] = []
    for (index, entry) in l1.enumerated() where entry & L2Entry.hostMask != 0 {
      let place = header.l1Offset + UInt64(index * 8)
      try check(entry & L2Entry.hostMask, "an L2 table", at: place)
      guard entry & L2Entry.copied != 0 || !snapshots.isEmpty else {
        throw DiskError(
          .malformed,
          "an L2 table is marked as shared, and there is no snapshot; `qemu-img check -r all` "
            + "repairs it", path: path, offset: place)
      }
      clusters.append((entry & L2Entry.hostMask) / geometry.clusterSize)
    }
    return clusters
  }

  private func check(_ host: UInt64, _ what: String, at offset: UInt64) throws(DiskError) {
    guard geometry.isCluster(host, below: end) else {
      throw DiskError(
        .malformed, "\(what) lies at \(host), where there is no cluster of the file", path: path,
        offset: offset)
    }
  }

  var rules: L2EntryRules {
    L2EntryRules(
      geometry: geometry, path: path, end: end, metadata: metadata, compressed: compressed)
  }
}

extension OverlayStructure {
  /// What refers to the clusters of the file, counted through all tables. As soon as one is named that
  /// the file counts as free, no more are read: so what is kept takes no more memory than the file has
  /// refcount blocks.
  ///
  /// - Parameter stored: the counts that the file has.
  /// - Throws: `malformed` for what no table can say, and where a count is too low.
  func countReferences(
    in file: any Storage, stored: ClusterCounts
  ) throws(DiskError) -> ClusterCounts {
    var tables = snapshotTables
    for entry in l1 where entry & L2Entry.hostMask != 0 {
      tables[entry & L2Entry.hostMask, default: 0] += 1
    }
    var counts = ClusterCounts()
    // What compressed clusters refer to: several of them share one.
    var packed = ClusterCounts()
    for cluster in metadata.sorted() {
      if stored[cluster] == 0 { throw tooLow(cluster, 0, 1) }
      counts[cluster] = 1
    }
    let rules = rules
    for (table, times) in tables.sorted(by: { $0.key < $1.key }) {
      counts[table / geometry.clusterSize] = 0
      try counts.add(table / geometry.clusterSize, times: times, path)
      try rules.forEachEntry(ofTableAt: table, in: file) {
        (index, entry, run) throws(DiskError) in
        for cluster in run {
          if stored[cluster] == 0 { throw tooLow(cluster, 0, 1) }
          // Without snapshots nothing else is shared.
          guard !snapshots.isEmpty || counts[cluster] == (entry.isCompressed ? packed[cluster] : 0)
          else {
            throw DiskError(
              .malformed, "two entries share a cluster; `qemu-img check` shows what is wrong",
              path: path, offset: geometry.place(ofEntry: index, inTableAt: table))
          }
          try counts.add(cluster, times: times, path)
          if entry.isCompressed { try packed.add(cluster, times: times, path) }
        }
      }
    }
    try counts.forEachCounted { (cluster, count) throws(DiskError) in
      if stored[cluster] < count { throw tooLow(cluster, stored[cluster], count) }
    }
    return counts
  }

  /// Calls `visit` for each refcount block that counts clusters below `limit`, with the number of the
  /// first one, and where the block is.
  func forEachBlock(
    below limit: UInt64 = .max, in file: any Storage,
    _ visit: (_ first: UInt64, _ at: UInt64, [UInt16]) throws(DiskError) -> Void
  ) throws(DiskError) {
    for (index, at) in blocks.enumerated() where at != 0 {
      let first = UInt64(index) * geometry.countsPerBlock
      guard first < limit else { return }
      let reader = try file.reader(at: FileOffset(at), count: Int(geometry.clusterSize))
      try visit(first, at, try reader.integers(at: 0, count: Int(geometry.countsPerBlock), .big))
    }
  }

  /// The counts that the file has of its clusters.
  func storedCounts(in file: any Storage) throws(DiskError) -> ClusterCounts {
    var counts = ClusterCounts()
    try forEachBlock(below: end, in: file) { first, _, values in
      for (place, value) in values.enumerated() where value != 0 {
        counts[first + UInt64(place)] = value
      }
    }
    return counts
  }

  private func tooLow(_ cluster: UInt64, _ stored: UInt16, _ count: UInt16) -> DiskError {
    DiskError(
      .malformed,
      "cluster \(cluster) is in use and counted as "
        + (stored == 0 ? "free" : "used \(stored) times, and not \(count)")
        + "; `qemu-img check -r all` repairs it", path: path)
  }
}

extension ClusterCounts {
  mutating func add(
    _ cluster: UInt64, times: Int, _ path: String
  ) throws(DiskError) {
    guard add(cluster, times: times) else {
      throw DiskError(
        .unsupported,
        "more than \(UInt16.max) snapshots share a cluster; delete one that is not needed",
        path: path)
    }
  }
}

extension Storage {
  /// Big-endian words of a table.
  func words(at offset: UInt64, count: Int) throws(DiskError) -> [UInt64] {
    guard count > 0 else { return [] }
    return try reader(at: FileOffset(offset), count: count * 8).integers(at: 0, count: count, .big)
  }
}
