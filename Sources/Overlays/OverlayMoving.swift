internal import DiskCore

// A cluster that a snapshot has too is not written in place: the disk's gets a cluster of its own first.

extension Overlay {
  /// Moves a cluster of the disk to one of the file that nobody else has: what is stored is copied, and
  /// reads as before all the time. However many threads want that, one does it.
  func move(_ cluster: Int, of table: Int) throws(DiskError) {
    let key = UInt64(table) * UInt64(geometry.entriesPerTable) + UInt64(cluster)
    let attempt = state.withLock { state -> Lazy<Void> in
      if let running = state.moves[key] { return running }
      let attempt = Lazy { [self] () throws(DiskError) in try makeMove(cluster, of: table) }
      state.moves[key] = attempt
      return attempt
    }
    defer {
      state.withLock { state in
        if state.moves[key] === attempt { state.moves[key] = nil }
      }
    }
    try attempt.get()
  }

  /// Where it need not be moved any more, whoever wanted it finds that out.
  private func makeMove(_ cluster: Int, of table: Int) throws(DiskError) {
    let place = try takeCluster()
    let old = state.withLock { $0.beginMove(cluster, of: table) }
    do throws(DiskError) {
      if let old { try copy(old, to: place) }
    } catch {
      state.withLock { $0.endMove(cluster, of: table, from: old, to: place, isCopied: false) }
      throw error
    }
    state.withLock { $0.endMove(cluster, of: table, from: old, to: place, isCopied: true) }
  }

  /// What is not stored is not copied: its bytes mean nothing.
  private func copy(_ entry: L2Entry, to place: UInt64) throws(DiskError) {
    if entry.isCompressed { return try decode(entry, to: place) }
    var index = 0
    while index < 32 {
      let kind = entry.kind(index)
      let run = entry.run(of: kind, from: index)
      if kind == .stored {
        let within = UInt64(index) * geometry.grain
        let bytes = try storage.bytes(
          at: FileOffset(entry.host + within), count: run * Int(geometry.grain))
        try storage.write(bytes, at: place * geometry.clusterSize + within)
      }
      index += run
    }
  }
}

extension Overlay {
  private func decode(_ entry: L2Entry, to place: UInt64) throws(DiskError) {
    guard let compressed = state.withLock({ $0.compressed }) else { return }
    let bytes = try compressed.content(of: entry.descriptor)
    try storage.write(bytes, at: place * geometry.clusterSize)
  }
}

extension OverlayState {
  /// The entry of a cluster that is shared; its table stays in memory until `endMove`.
  fileprivate mutating func beginMove(_ cluster: Int, of table: Int) -> L2Entry? {
    guard let slot = changeable(table) else { return nil }
    let entry = tables.values[slot][cluster]
    guard entry.host != 0, !entry.isCopied, tables.values[slot].error(cluster) == nil else {
      return nil
    }
    tables.values[slot].pins += 1
    return entry
  }

  /// `place` gets the entry, or is nobody's again. What was discarded meanwhile stays so.
  fileprivate mutating func endMove(
    _ cluster: Int, of table: Int, from old: L2Entry?, to place: UInt64, isCopied: Bool
  ) {
    var isUsed = false
    if let old, let slot = tables.index(forKey: table) {
      tables.values[slot].pins -= 1
      let entry = tables.values[slot][cluster]
      if isCopied, entry.descriptor == old.descriptor {
        // What was compressed is stored as a whole now.
        tables.values[slot][cluster] = L2Entry(
          host: place * geometry.clusterSize, allocated: old.isCompressed ? .max : entry.allocated,
          zeros: old.isCompressed ? 0 : entry.zeros)
        freed.append(rules.clusters(of: old))
        isUsed = true
      }
    }
    if !isUsed { ready.add(place..<place + 1) }
  }
}
