internal import DiskCore

/// Makes a file's active state and its snapshots others, in one moment.
///
/// All tables of the new state that differ are written where nothing valid is: L2 tables, an L1 table,
/// a snapshot table, refcount blocks with counts that are exact, a refcount table. Then one write of the
/// file's first sector names them. So after a power cut at any point the file is as it was or as it is
/// to be, and its flags and counts agree: a flag that says "counted once" and a count that says
/// otherwise, which QEMU calls an error, could not be changed one after the other.
struct OverlayRewrite: Sendable {
  /// What is to be.
  struct Target: Sendable {
    /// L1 entries of tables that are in the file, of which the active state is made.
    var active: [UInt64]
    var snapshots: [StoredSnapshot]
  }

  /// What is to be, with the places of the new tables.
  let result: OverlayStructure
  /// How often each cluster is referred to then; what is held is counted once.
  private(set) var counts: ClusterCounts
  /// Clusters that are in use, and then are not.
  private(set) var givenUp: [Range<UInt64>] = []
  /// Clusters that were not in use, and then are.
  private var taken: [Range<UInt64>] = []
  private let oldEnd: UInt64
  private let snapshotTable: [UInt8]
  /// L2 tables to write: which it is now, and where it goes.
  private let moved: [(from: UInt64, to: UInt64)]

  private var geometry: OverlayGeometry { result.geometry }

  /// - Parameters:
  ///   - old: what `file` is now.
  ///   - held: clusters that nothing refers to, and that are not to be written over.
  ///   - keepsGivenUp: what nothing refers to any more may still be read: it is held, too.
  ///   - isWhole: the new tables go behind all that is in the file, whatever it is.
  /// - Throws: `malformed` for tables that cannot be as they are; `unsupported` where 16 bits cannot
  ///   count what shares a cluster, or there is no room for the counts in tables that QEMU opens.
  init(
    of old: OverlayStructure, in file: any Storage, to target: Target,
    holding held: [Range<UInt64>] = [], keepingGivenUp keepsGivenUp: Bool = false,
    behindEverything isWhole: Bool = false
  ) throws(DiskError) {
    let geometry = old.geometry
    let unit = geometry.clusterSize
    oldEnd = old.end
    var used = ClusterCounts()
    if !isWhole {
      used = try old.countReferences(in: file, stored: try old.storedCounts(in: file))
    }
    // Data, and what the snapshots have.
    let snapshotTables = try OverlayStructure.tables(
      of: target.snapshots, in: file, geometry)
    var counts = try old.countData(of: target.active, snapshotTables, in: file)
    counts[0] = 1
    for run in target.snapshots.map({ $0.l1Run(geometry) }) {
      for cluster in run { counts[cluster] = 1 }
    }
    // Tables that say the right thing where they are stay.
    var l1 = target.active.map { $0 & L2Entry.hostMask }
    var indices: [Int] = []
    for (index, table) in l1.enumerated() where table != 0 {
      if snapshotTables[table] == nil, try !old.changes(table, in: file, counts) {
        counts[table / unit] = 1
        l1[index] |= L2Entry.copied
      } else {
        indices.append(index)
      }
    }
    givenUp = used.notCounted(in: counts)
    for run in keepsGivenUp ? held + givenUp : held {
      for cluster in run { counts[cluster] = max(1, counts[cluster]) }
    }
    snapshotTable = StoredSnapshot.table(of: target.snapshots)

    var occupied = used
    for run in held { for cluster in run { occupied[cluster] = max(1, occupied[cluster]) } }
    let free = isWhole ? [] : occupied.free(below: old.end)
    let places = try RewritePlaces(
      free: free, end: old.end, geometry: geometry, counts: counts,
      l1: max(1, geometry.clusters(UInt64(l1.count) * 8)),
      snapshotTable: geometry.clusters(UInt64(snapshotTable.count)), tables: indices.count,
      path: old.path)
    for run in places.all { for cluster in run { counts[cluster] = 1 } }
    moved = zip(indices, places.tables).map { index, place in (l1[index], place * unit) }
    for (index, place) in zip(indices, places.tables) { l1[index] = place * unit | L2Entry.copied }

    var header = old.header
    header.l1Offset = places.l1.lowerBound * unit
    header.refcountTableOffset = places.blockTable.lowerBound * unit
    header.refcountTableClusters = UInt64(places.blockTable.count)
    header.snapshotCount = target.snapshots.count
    header.snapshotsOffset = target.snapshots.isEmpty ? 0 : places.snapshotTable.lowerBound * unit
    var metadata = Set(places.all.joined())
    metadata.insert(0)
    for snapshot in target.snapshots { metadata.formUnion(snapshot.l1Run(geometry)) }
    for table in snapshotTables.keys { metadata.insert(table / unit) }
    for entry in l1 where entry != 0 { metadata.insert((entry & L2Entry.hostMask) / unit) }
    result = OverlayStructure(
      header, path: old.path, l1: l1, blocks: places.blocks(geometry),
      snapshots: target.snapshots, snapshotTables: snapshotTables,
      end: max(counts.end, old.end), metadata: metadata)
    taken = places.all
    self.counts = counts
  }

  /// Writes what the header does not name yet, and waits until it is on the disk. Where that fails the
  /// file is as it was.
  func write(to file: any WritableStorage) throws(DiskError) {
    let size = file.size
    do throws(DiskError) {
      if result.end * geometry.clusterSize > size {
        try file.resize(to: result.end * geometry.clusterSize)
      }
      try writeTables(to: file)
      try file.flush()
    } catch {
      for run in taken where run.upperBound <= oldEnd {
        try? file.punch(
          at: FileOffset(run.lowerBound * geometry.clusterSize),
          length: UInt64(run.count) * geometry.clusterSize)
      }
      try? file.resize(to: size)
      throw error
    }
  }

  private func writeTables(to file: any WritableStorage) throws(DiskError) {
    for (from, to) in moved {
      var words = try file.words(at: from, count: geometry.entriesPerTable * 2)
      result.mark(&words, counts)
      try file.write(bigEndianBytes(words[...]), at: to)
    }
    try writeWhole(bigEndianBytes(result.l1[...]), to: file, at: result.header.l1Offset)
    if !snapshotTable.isEmpty {
      try writeWhole(snapshotTable, to: file, at: result.header.snapshotsOffset)
    }
    for (index, block) in result.blocks.enumerated() where block != 0 {
      let first = UInt64(index) * geometry.countsPerBlock
      try file.write(counts.bytes(of: first..<first + geometry.countsPerBlock), at: block)
    }
    try file.write(bigEndianBytes(result.blocks[...]), at: result.header.refcountTableOffset)
  }

  /// With zeros up to the next cluster.
  private func writeWhole(
    _ bytes: [UInt8], to file: any WritableStorage, at offset: UInt64
  ) throws(DiskError) {
    let count = Int(max(1, geometry.clusters(UInt64(bytes.count))) * geometry.clusterSize)
    try file.write(bytes + [UInt8](repeating: 0, count: count - bytes.count), at: offset)
  }

  /// The new state is the valid one from here on: one write of one sector.
  ///
  /// - Throws: what writing throws; nobody knows then which state the file has.
  func makeValid(in file: any WritableStorage) throws(DiskError) {
    let header = result.header
    var sector = try file.bytes(at: .start, count: SectorSet.size)
    sector.putBig(header.l1Offset, at: OverlayHeader.l1Field)
    sector.putBig(header.refcountTableOffset, at: OverlayHeader.refcountTableField)
    sector.putBig(UInt32(header.refcountTableClusters), at: OverlayHeader.refcountTableField + 8)
    sector.putBig(UInt32(header.snapshotCount), at: OverlayHeader.snapshotsField)
    sector.putBig(header.snapshotsOffset, at: OverlayHeader.snapshotsField + 4)
    // What other programs promise of the content, for those who know what it means.
    sector.putBig(UInt64(0), at: Int(OverlayHeader.autoclearField))
    try file.write(sector, at: 0)
    try file.flush()
  }

  /// Gives back the space that nothing refers to any more. No program has the file open.
  func trim(_ file: any WritableStorage) throws(DiskError) {
    for run in counts.free(below: counts.end) {
      try? file.punch(
        at: FileOffset(run.lowerBound * geometry.clusterSize),
        length: UInt64(run.count) * geometry.clusterSize)
    }
    try file.resize(to: counts.end * geometry.clusterSize)
  }
}

extension OverlayStructure {
  /// How often data is referred to by an active L1 table and by those of snapshots, and how often the
  /// latter name each L2 table.
  fileprivate func countData(
    of active: [UInt64], _ snapshotTables: [UInt64: Int], in file: any Storage
  ) throws(DiskError) -> ClusterCounts {
    var tables = snapshotTables
    for entry in active where entry & L2Entry.hostMask != 0 {
      tables[entry & L2Entry.hostMask, default: 0] += 1
    }
    var counts = ClusterCounts()
    for (table, times) in tables.sorted(by: { $0.key < $1.key }) {
      try counts.add(
        table / geometry.clusterSize, times: snapshotTables[table] ?? 0, path)
      try rules.forEachReference(ofTableAt: table, in: file) { (_, run) throws(DiskError) in
        for cluster in run { try counts.add(cluster, times: times, path) }
      }
    }
    return counts
  }

  /// Whether an active L2 table's flags are not what `counts` make them.
  fileprivate func changes(
    _ table: UInt64, in file: any Storage, _ counts: ClusterCounts
  ) throws(DiskError) -> Bool {
    let words = try file.words(at: table, count: geometry.entriesPerTable * 2)
    var marked = words
    mark(&marked, counts)
    return marked != words
  }

  /// Marks the entries of an active L2 table whose cluster is counted once, and no others.
  fileprivate func mark(_ words: inout [UInt64], _ counts: ClusterCounts) {
    for index in stride(from: 0, to: words.count, by: 2) {
      let entry = L2Entry(descriptor: words[index], bitmap: words[index + 1])
      guard entry.host != 0 else { continue }
      if counts[entry.host / geometry.clusterSize] == 1 {
        words[index] |= L2Entry.copied
      } else {
        words[index] &= ~L2Entry.copied
      }
    }
  }
}
