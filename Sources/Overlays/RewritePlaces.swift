internal import DiskCore

/// Where new tables go: into free clusters, as far to the front as they fit, or behind the end.
struct RewritePlaces {
  let blockTable: Range<UInt64>
  let blockIndices: [UInt64]
  let blockPlaces: [UInt64]
  let l1: Range<UInt64>
  let snapshotTable: Range<UInt64>
  let tables: [UInt64]

  var all: [Range<UInt64>] {
    [blockTable, l1, snapshotTable] + blockPlaces.map { $0..<$0 + 1 } + tables.map { $0..<$0 + 1 }
  }

  /// - Parameters:
  ///   - counts: of everything else.
  ///   - l1, snapshotTable: in clusters.
  init(
    free: [Range<UInt64>], end: UInt64, geometry: OverlayGeometry, counts: ClusterCounts,
    l1: UInt64, snapshotTable: UInt64, tables: Int, path: String
  ) throws(DiskError) {
    let counted = counts.blocks(of: geometry.countsPerBlock)
    var tableLength: UInt64 = 1
    var blockCount = 1
    // How many blocks there are depends on where the tables are, and that on how many there are.
    while true {
      var space = FreeSpace(runs: free, end: end)
      let blockTable = space.take(tableLength)
      let blocks = (0..<blockCount).map { _ in space.take(1).lowerBound }
      let l1 = space.take(l1)
      let snapshotTable = space.take(snapshotTable)
      let tables = (0..<tables).map { _ in space.take(1).lowerBound }
      var wanted = counted
      for run in [blockTable, l1, snapshotTable] where !run.isEmpty {
        wanted.formUnion(
          run.lowerBound / geometry.countsPerBlock...(run.upperBound - 1) / geometry.countsPerBlock)
      }
      for cluster in blocks + tables { wanted.insert(cluster / geometry.countsPerBlock) }
      let needed = geometry.clusters(((wanted.max() ?? 0) + 1) * 8)
      guard needed * geometry.clusterSize <= OverlayHeader.largestRefcountTable else {
        throw DiskError(
          .unsupported, "is too large for new tables; `platter cat` makes a new image of it",
          path: path)
      }
      if needed <= tableLength, wanted.count <= blockCount {
        self.blockTable = blockTable
        blockIndices = wanted.sorted()
        // One more than is needed counts for nothing.
        blockPlaces = Array(blocks.prefix(wanted.count))
        self.l1 = l1
        self.snapshotTable = snapshotTable
        self.tables = tables
        return
      }
      tableLength = max(tableLength, needed)
      blockCount = max(blockCount, wanted.count)
    }
  }

  /// The refcount table.
  func blocks(_ geometry: OverlayGeometry) -> [UInt64] {
    var table = [UInt64](repeating: 0, count: blockTable.count * geometry.blocksPerCluster)
    for (index, place) in zip(blockIndices, blockPlaces) {
      table[Int(index)] = place * geometry.clusterSize
    }
    return table
  }
}

private struct FreeSpace {
  var runs: [Range<UInt64>]
  /// Everything from here on is free.
  var end: UInt64
  /// The first of `runs` that is not empty.
  private var first = 0

  init(runs: [Range<UInt64>], end: UInt64) {
    self.runs = runs
    self.end = end
    if let last = runs.last, last.upperBound == end {
      self.end = last.lowerBound
      self.runs.removeLast()
    }
  }

  /// Clusters in a row.
  mutating func take(_ count: UInt64) -> Range<UInt64> {
    while first < runs.count, runs[first].isEmpty { first += 1 }
    if let index = (first..<runs.count).first(where: { UInt64(runs[$0].count) >= count }) {
      let start = runs[index].lowerBound
      runs[index] = start + count..<runs[index].upperBound
      return start..<start + count
    }
    end += count
    return end - count..<end
  }
}
