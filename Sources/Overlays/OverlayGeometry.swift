/// The sizes that follow from the size of a cluster (qcow2 specification, "Cluster mapping",
/// "Extended L2 Entries", "Host cluster management").
struct OverlayGeometry: Sendable, Equatable {
  /// 512 bytes, the smallest by the specification, to 2 MiB, the largest that QEMU opens.
  static let clusterBits = 9...21
  /// With extended L2 entries: 32 subclusters of a sector at least.
  static let clusterBitsWithSubclusters = 14...21

  /// 128 KiB clusters of 4 KiB subclusters.
  static let standard = OverlayGeometry(bits: 17)

  /// Within `clusterBits`, or `clusterBitsWithSubclusters`.
  let bits: Int
  /// Whether L2 entries are extended. In memory all are: a standard one has its 32 bits set alike.
  let hasSubclusters: Bool

  init(bits: Int, hasSubclusters: Bool = true) {
    self.bits = bits
    self.hasSubclusters = hasSubclusters
  }

  var clusterSize: UInt64 { 1 << UInt64(bits) }
  /// What can be stored by itself, in bytes: a subcluster, or a cluster where there are none.
  var unit: UInt64 { hasSubclusters ? grain : clusterSize }
  /// What one bit of an entry in memory stands for, in bytes.
  var grain: UInt64 { clusterSize / 32 }
  /// Of 8 bytes each, in the file.
  var wordsPerEntry: Int { hasSubclusters ? 2 : 1 }
  var entriesPerTable: Int { Int(clusterSize / 8) / wordsPerEntry }
  /// How much of the disk one L2 table maps, in bytes.
  var bytesPerTable: UInt64 { clusterSize * UInt64(entriesPerTable) }
  /// How many clusters one refcount block counts, in 16 bits each.
  var countsPerBlock: UInt64 { clusterSize / 2 }
  /// Entries of the refcount table in one cluster.
  var blocksPerCluster: Int { Int(clusterSize / 8) }

  /// Calls `body` for each cluster that the bytes `range` of a table's part of the disk touch, with
  /// the bits of the grains touched: of all of them where these are whole units.
  func forEachCluster(_ range: Range<UInt64>, _ body: (Int, UInt32) -> Void) {
    var at = range.lowerBound
    while at < range.upperBound {
      let cluster = at / clusterSize
      let start = cluster * clusterSize
      let end = min(range.upperBound, start + clusterSize)
      let grains = Int((at - start) / grain)..<Int((end - start + grain - 1) / grain)
      body(Int(cluster), L2Entry.mask(grains))
      at = end
    }
  }

  /// Whether a cluster of a file of `end` clusters starts at byte `offset`.
  func isCluster(_ offset: UInt64, below end: UInt64) -> Bool {
    offset.isMultiple(of: clusterSize) && offset / clusterSize < end
  }

  /// How many L2 tables map a disk of `size` bytes.
  func tables(for size: UInt64) -> UInt64 {
    size / bytesPerTable + (size % bytesPerTable == 0 ? 0 : 1)
  }

  /// How many clusters `bytes` fill, the last one perhaps in part.
  func clusters(_ bytes: UInt64) -> UInt64 {
    bytes / clusterSize + (bytes % clusterSize == 0 ? 0 : 1)
  }
}

/// What a test makes small to reach the ends of.
struct OverlayTuning: Sendable {
  /// L2 tables take no more memory than this, but for two.
  static let residentBytes = 32 << 20

  var geometry = OverlayGeometry.standard
  /// L2 tables in memory; 256 of 128 KiB map 256 GiB of the disk.
  var residentTables = 256
  /// How many clusters are counted as used at a time, before they are: 8 MiB, so that one in 64
  /// new clusters costs a write to a refcount block.
  var raisedRun: UInt64 = 64
  /// The first cluster past those of an empty overlay that is handed out; 0 for the next one.
  var firstCluster: UInt64 = 0
}
