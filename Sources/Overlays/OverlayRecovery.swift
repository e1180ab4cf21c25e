internal import DiskCore

/// What opening does with a file that was left open: finds how often every cluster is referred to, takes
/// back the counts that are higher, and cuts the file behind the last one that is in use.
enum OverlayRecovery {
  /// - Throws: `malformed` where two entries share a cluster or a count is too low, which no crash
  ///   of Platter's leaves.
  static func collect(
    in file: any WritableStorage, _ structure: OverlayStructure, _ state: inout OverlayState
  ) throws(DiskError) {
    let stored = try structure.storedCounts(in: file)
    let used = try structure.countReferences(in: file, stored: stored)
    try structure.requireFlags(stored, whenLoweredTo: used, in: file)
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

extension OverlayStructure {
  /// - Throws: `malformed` where bit 63 of an active entry is not what the count, once lowered, makes
  ///   it: missing where the cluster is counted once, which is what QEMU leaves when it is interrupted
  ///   while it deletes a snapshot; or set where a snapshot has the cluster too, which would be written
  ///   in place. No crash of Platter's leaves either.
  fileprivate func requireFlags(
    _ stored: ClusterCounts, whenLoweredTo used: ClusterCounts, in file: any Storage
  ) throws(DiskError) {
    var lowered: Set<UInt64> = []
    try used.forEachCounted { (cluster, count) throws(DiskError) in
      if count == 1, stored[cluster] > 1 { lowered.insert(cluster) }
    }
    // Without snapshots nothing that can have the bit is shared: that was looked at.
    guard !lowered.isEmpty || !snapshots.isEmpty else { return }
    func check(_ entry: UInt64, _ cluster: UInt64, at place: UInt64) throws(DiskError) {
      let isCopied = entry & L2Entry.copied != 0
      guard isCopied ? used[cluster] > 1 : lowered.contains(cluster) else { return }
      throw DiskError(
        .malformed,
        "cluster \(cluster) is marked as "
          + (isCopied ? "used once, and in use \(used[cluster]) times" : "shared and in use once")
          + "; `qemu-img check -r all` repairs it", path: path, offset: place)
    }
    for (index, entry) in l1.enumerated() where entry & L2Entry.hostMask != 0 {
      let table = entry & L2Entry.hostMask
      try check(entry, table / geometry.clusterSize, at: header.l1Offset + UInt64(index * 8))
      try rules.forEachEntry(ofTableAt: table, in: file) { (index, entry, run) throws(DiskError) in
        guard !entry.isCompressed else { return }
        try check(
          entry.descriptor, run.lowerBound, at: geometry.place(ofEntry: index, inTableAt: table))
      }
    }
  }
}
