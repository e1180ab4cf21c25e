public import DiskCore
internal import Synchronization

extension Overlay {
  /// Takes everything that was published to the file, in two steps: first what nothing in the file
  /// names yet (data, counts), then, once that is on the disk, the entries that name it.
  ///
  /// - Throws: what writing throws. Nothing is lost then: the next flush tries again.
  public func flush() throws(DiskError) -> UInt64 {
    let ticket = state.withLock { state in
      state.flushesAsked += 1
      return state.flushesAsked
    }
    flushing.wait()
    defer { flushing.signal() }
    // Another thread's flush that began after this call has done it.
    let done = state.withLock { $0.flushesDone >= ticket || $0.isClosed ? $0.generation : nil }
    if let done { return done }
    let work = try state.withLock { (state) throws(DiskError) in
      if let broken = state.broken { throw broken }
      return state.beginFlush()
    }
    do throws(DiskError) {
      try write(work)
    } catch {
      state.withLock { $0.endFlush(work, failed: true) }
      throw error
    }
    return state.withLock { state in
      state.endFlush(work, failed: false)
      return state.generation
    }
  }

  private func write(_ work: OverlayFlushWork) throws(DiskError) {
    for counts in work.counts { try write(counts) }
    if !work.blockTable.isEmpty {
      // A block counts itself: it must be there before it is named.
      try storage.flush()
      for piece in work.blockTable { try storage.write(piece.bytes, at: piece.at) }
    }
    try storage.flush()
    guard !work.entries.isEmpty else { return }
    for piece in work.entries { try storage.write(piece.bytes, at: piece.at) }
    try storage.flush()
  }

  /// Writes whole sectors, which only a flush does.
  private func write(_ counts: OverlayFlushWork.Counts) throws(DiskError) {
    let sector = UInt64(SectorSet.size)
    let start = counts.at / sector * sector
    let end = (counts.at + UInt64(counts.count * 2) + sector - 1) / sector * sector
    var bytes = try storage.bytes(at: FileOffset(start), count: Int(end - start))
    let first = Int(counts.at - start)
    for index in 0..<counts.count { bytes.putBig(counts.value, at: first + index * 2) }
    try storage.write(bytes, at: start)
  }

  public func reclaim(upTo generation: UInt64) {
    // What it gives back is for nobody until it is done: not for new tables either.
    growing.wait()
    defer { growing.signal() }
    let runs = state.withLock { state -> [Range<UInt64>] in
      guard !state.isClosed else { return [] }
      let over = state.quarantine.filter { $0.generation <= generation }
      state.quarantine.removeAll { $0.generation <= generation }
      return over.flatMap(\.runs)
    }
    guard !runs.isEmpty else { return }
    var pool = ClusterPool()
    pool.add(runs)
    // Gives the space back until it is used again. They are still nobody's.
    for run in pool.runs {
      try? storage.punch(
        at: FileOffset(run.lowerBound * geometry.clusterSize),
        length: UInt64(run.count) * geometry.clusterSize)
    }
    state.withLock { $0.ready.add(pool.runs) }
  }

  /// Ends the work on the file: everything is on the disk, clusters that were counted ahead are
  /// free again, and the file is cut where its last used cluster ends. No other call may be going
  /// on, and none may follow.
  ///
  /// - Throws: what writing throws; `close` can be called again then.
  public func close() throws(DiskError) {
    if state.withLock({ $0.isClosed }) { return }
    // Nobody reads any more.
    reclaim(upTo: try flush())
    state.withLock { state in
      let unused = state.ready.takeAll()
      for run in unused { state.counts.append(OverlayState.CountChange(run: run, value: 0)) }
      state.free.add(unused)
    }
    _ = try flush()
    let (end, newEnd) = state.withLock { ($0.end, $0.free.runs.first) }
    if let newEnd, newEnd.upperBound == end {
      try storage.resize(to: newEnd.lowerBound * geometry.clusterSize)
      state.withLock { state in state.end = state.free.cutTail(endingAt: end) }
    }
    try Self.writeState(0, to: storage, at: statePlace)
    state.withLock { $0.isClosed = true }
  }

  /// Writes the private extension's word of state and waits until it and all before it is on the disk.
  /// A file without one is none of Platter's, and is looked through when it is opened.
  static func writeState(
    _ word: UInt64, to storage: any WritableStorage, at place: UInt64?
  ) throws(DiskError) {
    if let place {
      var bytes: [UInt8] = []
      bytes.appendBig(word)
      try storage.write(bytes, at: place)
    }
    try storage.flush()
  }
}
