internal import DiskCore
internal import Glibc

// Clusters to hand out. Their counts are raised in runs before they are used, so that after a crash
// a count is never too low: clusters that were counted and not used are collected when the file is
// opened again.

extension Overlay {
  private enum Growth: Sendable {
    case enough
    /// Look through the refcount block of this index.
    case scan(Int, at: UInt64)
    /// The file's next clusters, with a new refcount block among them or not.
    case extend(Range<UInt64>, isBlockNew: Bool)
    /// A larger refcount table first, and the clusters for it.
    case growTable(start: UInt64)
  }

  /// Sees to it that there are clusters to hand out.
  ///
  /// - Throws: ENOSPC where the file cannot grow; then nothing has changed.
  func addClusters() throws(DiskError) {
    growing.wait()
    defer { growing.signal() }
    while true {
      let growth = try state.withLock { (state) throws(DiskError) -> Growth in
        try state.requireOpen()
        return try next(&state)
      }
      switch growth {
      case .enough: return
      case .scan(let index, let at): try scan(index, at: at)
      case .extend(let run, let isBlockNew): try extend(run, isBlockNew: isBlockNew)
      case .growTable(let start): try growTable(from: start)
      }
    }
  }

  private func next(_ state: inout OverlayState) throws(DiskError) -> Growth {
    if !state.ready.isEmpty { return .enough }
    if let run = state.free.take(upTo: tuning.raisedRun) {
      state.counts.append(OverlayState.CountChange(run: run, value: 1))
      state.ready.add(run)
      return .enough
    }
    while let index = state.unscanned.first {
      state.unscanned.removeFirst()
      if state.blocks[index] != 0 { return .scan(index, at: state.blocks[index]) }
    }
    var start = max(state.end, tuning.firstCluster)
    // A new block's first cluster is the block itself, and a run stays within one block.
    var blockEnd = (start / geometry.countsPerBlock + 1) * geometry.countsPerBlock
    if blockEnd - start < 2 {
      start = blockEnd
      blockEnd += geometry.countsPerBlock
    }
    let (_, overflow) = blockEnd.multipliedReportingOverflow(by: geometry.clusterSize)
    guard !overflow, blockEnd * geometry.clusterSize <= Limits.largestDisk else {
      throw DiskError(
        .inputOutput, "the overlay cannot grow further", path: storage.path, systemError: EFBIG)
    }
    let block = Int(start / geometry.countsPerBlock)
    guard block < state.blocks.count else { return .growTable(start: start) }
    let run = start..<min(blockEnd, start + max(2, tuning.raisedRun))
    return .extend(run, isBlockNew: state.blocks[block] == 0)
  }

  private func scan(_ index: Int, at: UInt64) throws(DiskError) {
    let first = UInt64(index) * geometry.countsPerBlock
    do throws(DiskError) {
      let reader = try storage.reader(at: FileOffset(at), count: Int(geometry.clusterSize))
      let counts: [UInt16] = try reader.integers(
        at: 0, count: Int(geometry.countsPerBlock), .big)
      state.withLock { state in
        let last = min(UInt64(counts.count), state.end - min(state.end, first))
        var runs: [Range<UInt64>] = []
        for place in 0..<last where counts[Int(place)] == 0 {
          let cluster = first + place
          // What the tables name is not free, whatever its count says.
          guard !state.isMetadata(cluster) else { continue }
          if let run = runs.last, run.upperBound == cluster {
            runs[runs.count - 1] = run.lowerBound..<cluster + 1
          } else {
            runs.append(cluster..<cluster + 1)
          }
        }
        state.free.add(runs)
      }
    } catch {
      state.withLock { $0.unscanned = index..<$0.unscanned.upperBound }
      throw error
    }
  }

  private func extend(_ run: Range<UInt64>, isBlockNew: Bool) throws(DiskError) {
    let first = run.lowerBound
    try grow(to: run.upperBound) { () throws(DiskError) in
      if isBlockNew {
        try storage.writeZeros(
          at: first * geometry.clusterSize, count: geometry.clusterSize)
      }
    }
    state.withLock { state in
      state.end = run.upperBound
      state.counts.append(OverlayState.CountChange(run: run, value: 1))
      if isBlockNew {
        let block = Int(first / geometry.countsPerBlock)
        state.blocks[block] = first * geometry.clusterSize
        state.newBlocks.append(block)
        state.metadata.insert(first)
      }
      state.ready.add(isBlockNew ? first + 1..<run.upperBound : run)
    }
  }

  /// Makes the file `end` clusters long and does `body`; where that fails the file is as it was.
  private func grow(
    to end: UInt64, _ body: () throws(DiskError) -> Void
  ) throws(DiskError) {
    let before = state.withLock { $0.end } * geometry.clusterSize
    do throws(DiskError) {
      try storage.resize(to: end * geometry.clusterSize)
      try body()
    } catch {
      // Where this fails too the file is longer than it need be.
      try? storage.resize(to: before)
      throw error
    }
  }

  /// Moves the refcount table to where it has room for the block that counts cluster `start`.
  private func growTable(from start: UInt64) throws(DiskError) {
    // Then the table in the file is the one in memory, and nothing is about to be written to it:
    // only who holds `growing` adds to it.
    _ = try flush()
    let block = Int(start / geometry.countsPerBlock)
    var blocks = state.withLock { $0.blocks }
    let wanted = UInt64(block + 1 + block / 2)
    let clusters = geometry.clusters(wanted * 8)
    // The block, which counts itself, and the table behind it.
    let run = start..<start + 1 + clusters
    guard clusters * geometry.clusterSize <= OverlayHeader.largestRefcountTable,
      run.upperBound <= UInt64(block + 1) * geometry.countsPerBlock
    else {
      throw DiskError(
        .inputOutput, "the overlay cannot grow further", path: storage.path, systemError: EFBIG)
    }
    let old = state.withLock { $0.blockTableAt } / geometry.clusterSize
    let oldRun = old..<old + geometry.clusters(UInt64(blocks.count) * 8)
    blocks += [UInt64](
      repeating: 0, count: Int(clusters) * geometry.blocksPerCluster - blocks.count)
    blocks[block] = start * geometry.clusterSize
    let table = run.lowerBound + 1
    try grow(to: run.upperBound) { () throws(DiskError) in
      var counts = [UInt8](repeating: 0, count: Int(geometry.clusterSize))
      for cluster in run {
        counts.putBig(UInt16(1), at: Int(cluster % geometry.countsPerBlock) * 2)
      }
      try storage.write(counts, at: start * geometry.clusterSize)
      try storage.write(bigEndianBytes(blocks[...]), at: table * geometry.clusterSize)
      try storage.flush()
    }
    do throws(DiskError) {
      try nameTable(at: table * geometry.clusterSize, clusters: clusters)
    } catch {
      // Either table may be the one that the file names now: no count can be written any more.
      let broken = DiskError(
        .inputOutput, "its refcount table could not be moved; open it again", path: storage.path,
        systemError: EIO, underlying: error)
      state.withLock { $0.broken = broken }
      throw broken
    }
    state.withLock { state in
      state.blockTableAt = table * geometry.clusterSize
      state.blocks = blocks
      state.end = run.upperBound
      state.metadata.formUnion(run)
      state.metadata.subtract(oldRun)
      state.ready.add(oldRun)
    }
  }

  private func nameTable(at offset: UInt64, clusters: UInt64) throws(DiskError) {
    var sector = try storage.bytes(at: .start, count: SectorSet.size)
    sector.putBig(offset, at: OverlayHeader.refcountTableField)
    sector.putBig(UInt32(clusters), at: OverlayHeader.refcountTableField + 8)
    try storage.write(sector, at: 0)
    try storage.flush()
  }
}
