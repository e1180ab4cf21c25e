internal import DiskCore

/// What opening does with a file that was left open: finds how often every cluster is referred to, takes
/// back the counts that are higher, and cuts the file behind the last one that is in use.
enum OverlayRecovery {
  /// - Throws: `malformed` where two entries share a cluster or a count is too low, which no crash
  ///   of Platter's leaves.
  static func collect(
    in file: any WritableStorage, _ structure: OverlayStructure, _ state: inout OverlayState
  ) throws(DiskError) {
    let used = try structure.countReferences(in: file)
    try structure.requireEnough(try structure.storedCounts(in: file), for: used)
    try structure.forEachBlock(in: file) { (first, at, counts) throws(DiskError) in
      try lower(counts, to: used, first: first, at: at, in: file)
    }
    try file.resize(to: used.end * state.geometry.clusterSize)
    state.end = used.end
    state.know(used)
    try file.flush()
  }

  /// Takes back the counts of one block, sector by sector, that are higher than they must be.
  private static func lower(
    _ counts: [UInt16], to used: ClusterCounts, first: UInt64, at: UInt64,
    in file: any WritableStorage
  ) throws(DiskError) {
    let perSector = SectorSet.size / 2
    for start in stride(from: 0, to: counts.count, by: perSector) {
      let right = (start..<start + perSector).map { used[first + UInt64($0)] }
      guard !right.elementsEqual(counts[start..<start + perSector]) else { continue }
      var bytes: [UInt8] = []
      for count in right { bytes.appendBig(count) }
      try file.write(bytes, at: at + UInt64(start * 2))
    }
  }
}
