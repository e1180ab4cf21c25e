internal import DiskCore

/// What one flush takes from memory to the file.
struct OverlayFlushWork: Sendable {
  /// Reference counts: `count` of `value` from `at` in the file on.
  struct Counts: Sendable {
    let at: UInt64
    let count: Int
    let value: UInt16
  }

  var counts: [Counts] = []
  /// Sectors of the refcount table.
  var blockTable: [PlacedBytes] = []
  /// Sectors of L2 tables and of the L1 table.
  var entries: [PlacedBytes] = []

  // To put back where it fails.
  var changes: [OverlayState.CountChange] = []
  var newBlocks: [Int] = []
  var tables: [(index: Int, dirty: SectorSet)] = []
  var l1: SectorSet
  var freed: [Range<UInt64>] = []
  /// Every flush asked for up to this one is served.
  var serves: UInt64
}

extension OverlayState {
  /// Takes what the file does not have. What is published from now on is for the next flush: its
  /// data may come after this one's.
  mutating func beginFlush() -> OverlayFlushWork {
    var work = OverlayFlushWork(l1: dirtyL1.takeAll(), serves: flushesAsked)
    for index in tables.keys.sorted() {
      guard var table = tables.removeValue(forKey: index) else { continue }
      if !table.dirty.isEmpty {
        let dirty = table.dirty.takeAll()
        work.entries += table.placed(dirty)
        work.tables.append((index, dirty))
        table.isBeingWritten = true
      }
      tables[index] = table
    }
    work.entries += l1.placed(work.l1, at: l1At)
    swap(&work.changes, &counts)
    for change in work.changes { work.counts += places(of: change) }
    swap(&work.newBlocks, &newBlocks)
    if !work.newBlocks.isEmpty {
      var sectors = SectorSet(words: blocks.count)
      for block in work.newBlocks { sectors.insert(word: block) }
      work.blockTable = blocks.placed(sectors, at: blockTableAt)
    }
    swap(&work.freed, &freed)
    return work
  }

  /// Where in the file the counts of a run are.
  private func places(of change: CountChange) -> [OverlayFlushWork.Counts] {
    var places: [OverlayFlushWork.Counts] = []
    var cluster = change.run.lowerBound
    while cluster < change.run.upperBound {
      let block = cluster / geometry.countsPerBlock
      let within = cluster % geometry.countsPerBlock
      let count = min(change.run.upperBound - cluster, geometry.countsPerBlock - within)
      places.append(
        OverlayFlushWork.Counts(
          at: blocks[Int(block)] + within * 2, count: Int(count), value: change.value))
      cluster += count
    }
    return places
  }

  mutating func endFlush(_ work: OverlayFlushWork, failed: Bool) {
    for (index, dirty) in work.tables {
      tables[index]?.isBeingWritten = false
      if failed { tables[index]?.dirty.formUnion(dirty) }
    }
    guard failed else {
      generation += 1
      flushesDone = max(flushesDone, work.serves)
      giveUp(work.freed)
      return
    }
    dirtyL1.formUnion(work.l1)
    // Older ones first: of two for one cluster the later counts.
    counts = work.changes + counts
    newBlocks = work.newBlocks + newBlocks
    freed += work.freed
  }

  /// With the change before it, where they go together: clusters are often given up in a row.
  private mutating func append(_ value: UInt16, of cluster: UInt64) {
    if let last = counts.last, last.value == value, last.run.upperBound == cluster {
      counts[counts.count - 1] = CountChange(
        run: last.run.lowerBound..<cluster + 1, value: value)
    } else {
      counts.append(CountChange(run: cluster..<cluster + 1, value: value))
    }
  }

  /// Nothing in the file's active tables names these clusters any more. Those that snapshots have keep
  /// their content, and are counted once less by the next flush: until now a crash would have brought
  /// back the entries that named them.
  private mutating func giveUp(_ runs: [Range<UInt64>]) {
    var left: [Range<UInt64>] = []
    for run in runs {
      guard !shared.isEmpty else {
        left.append(run)
        continue
      }
      for cluster in run {
        let count = shared[cluster]
        if count > 1 {
          shared[cluster] = count - 1
          append(count - 1, of: cluster)
        } else {
          left.append(cluster..<cluster + 1)
        }
      }
    }
    guard !left.isEmpty else { return }
    // One may have been an L2 table.
    for run in left { for cluster in run { metadata.remove(cluster) } }
    quarantine.append((generation, left))
  }
}
