internal import DiskCore

/// What opening does with a file that was left open: finds every cluster that is in use, takes back
/// the counts of the others, and cuts the file behind the last one.
enum OverlayRecovery {
  /// Which clusters are in use: a bit each, as many at a time as one refcount block counts, so that
  /// a file that claims to be huge costs no more memory than it has tables.
  private struct Used {
    let perBlock: UInt64
    var bits: [Int: [UInt64]] = [:]
    var end: UInt64 = 0

    /// False where it was in use already.
    mutating func insert(_ cluster: UInt64) -> Bool {
      let block = Int(cluster / perBlock)
      let place = Int(cluster % perBlock)
      end = max(end, cluster + 1)
      let empty = [UInt64](repeating: 0, count: Int(perBlock / 64))
      let bit: UInt64 = 1 << UInt64(place % 64)
      guard bits[block, default: empty][place / 64] & bit == 0 else { return false }
      bits[block, default: empty][place / 64] |= bit
      return true
    }
  }

  /// - Throws: `malformed` where two entries share a cluster or a count is too low, which no crash
  ///   of Platter's leaves.
  static func collect(
    in file: any WritableStorage, _ header: OverlayHeader, _ state: inout OverlayState
  ) throws(DiskError) {
    let geometry = state.geometry
    var used = Used(perBlock: geometry.countsPerBlock)
    for cluster in state.metadata { _ = used.insert(cluster) }
    for entry in state.l1 where entry & L2Entry.hostMask != 0 {
      try walk(entry & L2Entry.hostMask, in: file, state, &used)
    }
    for block in used.bits.keys where block >= state.blocks.count || state.blocks[block] == 0 {
      throw tooLow(UInt64(block) * geometry.countsPerBlock, file)
    }
    var free: [Range<UInt64>] = []
    for (index, at) in state.blocks.enumerated() where at != 0 {
      try lower(index, at: at, in: file, state, used.bits[index], used.end, &free)
    }
    try file.resize(to: used.end * geometry.clusterSize)
    state.end = used.end
    state.free.add(free)
    state.unscanned = 0..<0
    try file.flush()
  }

  /// Counts what one L2 table names.
  private static func walk(
    _ at: UInt64, in file: any Storage, _ state: OverlayState, _ used: inout Used
  ) throws(DiskError) {
    let geometry = state.geometry
    let reader = try file.reader(at: FileOffset(at), count: Int(geometry.clusterSize))
    let words: [UInt64] = try reader.integers(at: 0, count: geometry.entriesPerTable * 2, .big)
    if let worst = state.faults(in: words, at: at).min(by: { $0.key < $1.key }) {
      throw worst.value
    }
    for index in 0..<geometry.entriesPerTable {
      let host = words[2 * index] & L2Entry.hostMask
      guard host != 0 else { continue }
      guard used.insert(host / geometry.clusterSize) else {
        throw DiskError(
          .malformed, "two entries share a cluster; `qemu-img check` shows what is wrong",
          path: file.path, offset: at + UInt64(index * 16))
      }
    }
  }

  /// Takes back the counts of one block that nothing stands for, and adds the free clusters.
  private static func lower(
    _ index: Int, at: UInt64, in file: any WritableStorage, _ state: OverlayState,
    _ used: [UInt64]?, _ end: UInt64, _ free: inout [Range<UInt64>]
  ) throws(DiskError) {
    let geometry = state.geometry
    let first = UInt64(index) * geometry.countsPerBlock
    let reader = try file.reader(at: FileOffset(at), count: Int(geometry.clusterSize))
    var counts: [UInt16] = try reader.integers(
      at: 0, count: Int(geometry.countsPerBlock), .big)
    var changed: Set<Int> = []
    for place in counts.indices {
      let isUsed = used.map { $0[place / 64] >> UInt64(place % 64) & 1 != 0 } ?? false
      let cluster = first + UInt64(place)
      if isUsed, counts[place] == 0 { throw tooLow(cluster, file) }
      if counts[place] != (isUsed ? 1 : 0) {
        counts[place] = isUsed ? 1 : 0
        changed.insert(place * 2 / SectorSet.size)
      }
      guard !isUsed, cluster < end else { continue }
      if let run = free.last, run.upperBound == cluster {
        free[free.count - 1] = run.lowerBound..<cluster + 1
      } else {
        free.append(cluster..<cluster + 1)
      }
    }
    for sector in changed.sorted() {
      var bytes: [UInt8] = []
      let start = sector * SectorSet.size / 2
      for count in counts[start..<start + SectorSet.size / 2] { bytes.appendBig(count) }
      try file.write(bytes, at: at + UInt64(sector * SectorSet.size))
    }
  }

  private static func tooLow(_ cluster: UInt64, _ file: any Storage) -> DiskError {
    DiskError(
      .malformed,
      "cluster \(cluster) is in use and counted as free; `qemu-img check -r all` repairs it",
      path: file.path)
  }
}
