internal import DiskCore

// L2 tables come into memory here: once, without the lock, however many threads wait.

extension Overlay {
  /// Brings a table that the L1 table names into memory.
  func load(_ index: Int) throws(DiskError) { try bring(index) }

  /// Brings a table into memory, made where there is none. Where half of those in memory wait to be
  /// written, they are written first, so that there is always one to let go.
  func loadToChange(_ index: Int) throws(DiskError) {
    let isCrowded = state.withLock { $0.dirtyTables * 2 >= tuning.residentTables }
    if isCrowded { _ = try flush() }
    try bring(index)
  }

  private func bring(_ index: Int) throws(DiskError) {
    let attempt = state.withLock { state -> Lazy<Void>? in
      if state.tables[index] != nil { return nil }
      if let running = state.loads[index] { return running }
      let attempt = Lazy { [self] () throws(DiskError) in try make(index) }
      state.loads[index] = attempt
      return attempt
    }
    guard let attempt else { return }
    defer {
      state.withLock { state in
        if state.loads[index] === attempt { state.loads[index] = nil }
      }
    }
    try attempt.get()
  }

  private func make(_ index: Int) throws(DiskError) {
    let at = state.withLock { $0.l1[index] & L2Entry.hostMask }
    if at == 0 { return try makeEmpty(index) }
    let reader = try storage.reader(at: FileOffset(at), count: Int(geometry.clusterSize))
    let words: [UInt64] = try reader.integers(at: 0, count: geometry.entriesPerTable * 2, .big)
    state.withLock { state in
      state.tables[index] = L2Table(at: at, words: words, bad: state.faults(in: words, at: at))
      state.clock += 1
      state.tables[index]?.lastUse = state.clock
      state.evict(capacity: tuning.residentTables, keeping: index)
    }
  }

  /// A new table: zeros in the file before anything names it. They are written and not left as a
  /// hole, so that a flush cannot run out of space for them.
  private func makeEmpty(_ index: Int) throws(DiskError) {
    let cluster = try takeCluster()
    let at = cluster * geometry.clusterSize
    do throws(DiskError) {
      try storage.writeZeros(at: at, count: geometry.clusterSize)
    } catch {
      state.withLock { $0.ready.add(cluster..<cluster + 1) }
      throw error
    }
    let words = [UInt64](repeating: 0, count: geometry.entriesPerTable * 2)
    state.withLock { state in
      state.l1[index] = at | L2Entry.copied
      state.dirtyL1.insert(word: index)
      state.metadata.insert(cluster)
      state.tables[index] = L2Table(at: at, words: words)
      state.clock += 1
      state.tables[index]?.lastUse = state.clock
      state.evict(capacity: tuning.residentTables, keeping: index)
    }
  }

  private func takeCluster() throws(DiskError) -> UInt64 {
    while true {
      if let run = state.withLock({ $0.ready.take(upTo: 1) }) { return run.lowerBound }
      try addClusters()
    }
  }
}

extension OverlayState {
  /// The entries of a table that cannot be right, and what is wrong with each.
  func faults(in words: [UInt64], at table: UInt64) -> [Int: DiskError] {
    var faults: [Int: DiskError] = [:]
    for index in 0..<words.count / 2 {
      let entry = L2Entry(descriptor: words[2 * index], bitmap: words[2 * index + 1])
      guard entry != .absent, let (kind, what) = fault(entry) else { continue }
      faults[index] = DiskError(kind, what, path: path, offset: table + UInt64(index * 16))
    }
    return faults
  }

  private func fault(_ entry: L2Entry) -> (DiskError.Kind, String)? {
    if entry.isCompressed { return (.unsupported, "a compressed cluster in an overlay") }
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
    return isMetadata(cluster)
      ? (.malformed, "a cluster on top of the overlay's own tables") : nil
  }
}
