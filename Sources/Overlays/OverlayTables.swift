internal import DiskCore

// L2 tables come into memory here: once, without the lock, however many threads wait.

extension Overlay {
  /// Brings a table that the L1 table names into memory.
  func load(_ index: Int) throws(DiskError) { try bring(index, toChange: false) }

  /// Brings a table into memory, made where there is none, and with a place of its own where
  /// snapshots have it too. Where half of those in memory wait to be written, they are written first,
  /// so that there is always one to let go.
  func loadToChange(_ index: Int) throws(DiskError) {
    let isCrowded = state.withLock { $0.dirtyTables * 2 >= tuning.residentTables }
    if isCrowded { _ = try flush() }
    try bring(index, toChange: true)
  }

  private func bring(_ index: Int, toChange: Bool) throws(DiskError) {
    let attempt = state.withLock { state -> Lazy<Void>? in
      if state.changeable(index) != nil { return nil }
      if !toChange, state.tables[index] != nil { return nil }
      // It may be one that only reads: who wants to change finds that out, and comes again.
      if let running = state.loads[index] { return running.attempt }
      state.loadsBegun += 1
      let number = state.loadsBegun
      let attempt = Lazy { [self] () throws(DiskError) in
        // Whoever waits for one that failed may try it again, when it is over and others have begun.
        guard self.state.withLock({ $0.loads[index]?.number == number }) else { return }
        defer { self.state.withLock { $0.loads[index] = nil } }
        try make(index, toChange: toChange)
      }
      state.loads[index] = (number, attempt)
      return attempt
    }
    try attempt?.get()
  }

  private func make(_ index: Int, toChange: Bool) throws(DiskError) {
    let (entry, epoch) = state.withLock { ($0.l1[index], $0.epoch) }
    let at = entry & L2Entry.hostMask
    if at == 0 {
      // It went with an exchange of the tables: who only reads needs none.
      guard toChange else { return }
      return try makeEmpty(index)
    }
    let words = try geometry.words(ofTableAt: at, in: storage)
    if toChange, entry & L2Entry.copied == 0 {
      return try makeCopy(index, of: words, from: at)
    }
    state.withLock { state in
      // It was read from where it is no longer: who asked asks again.
      guard state.epoch == epoch else { return }
      state.add(
        L2Table(at: at, words: words, geometry, bad: state.rules.faults(in: words, at: at)), index,
        capacity: tuning.residentTables)
    }
  }

  /// A place of its own for a table that snapshots have too. It says the same; nothing it names is
  /// referred to once more.
  private func makeCopy(_ index: Int, of words: [UInt64], from old: UInt64) throws(DiskError) {
    let cluster = try takeCluster()
    let at = cluster * geometry.clusterSize
    do throws(DiskError) {
      try storage.write(geometry.bytes(ofTable: words), at: at)
    } catch {
      state.withLock { $0.ready.add(cluster..<cluster + 1) }
      throw error
    }
    state.withLock { state in
      state.freed.append(state.clusters(at: old))
      state.name(cluster, index)
      state.add(
        L2Table(at: at, words: words, geometry, bad: state.rules.faults(in: words, at: at)), index,
        capacity: tuning.residentTables)
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
      state.name(cluster, index)
      state.add(L2Table(at: at, words: words, geometry), index, capacity: tuning.residentTables)
    }
  }

  func takeCluster() throws(DiskError) -> UInt64 {
    while true {
      if let run = state.withLock({ $0.ready.take(upTo: 1) }) { return run.lowerBound }
      try addClusters()
    }
  }
}

extension OverlayState {
  /// Cluster `cluster` of the file is L2 table `index` from now on.
  fileprivate mutating func name(_ cluster: UInt64, _ index: Int) {
    l1[index] = cluster * geometry.clusterSize | L2Entry.copied
    dirtyL1.insert(word: index)
    metadata.insert(cluster)
  }

  fileprivate mutating func add(_ table: L2Table, _ index: Int, capacity: Int) {
    clock += 1
    tables[index] = table
    tables[index]?.lastUse = clock
    evict(capacity: capacity, keeping: index)
  }

  var rules: L2EntryRules {
    L2EntryRules(
      geometry: geometry, path: path, end: end, metadata: metadata, compressed: compressed)
  }
}
