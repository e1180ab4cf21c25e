internal import DiskCore

/// The tables of an open overlay, as they are in memory. Nothing here does I/O: what needs some says
/// so, and the overlay does it without the lock and asks again.
struct OverlayState: Sendable {
  let geometry: OverlayGeometry
  let size: UInt64
  /// Without a base, what is not here reads as zeros.
  let hasBase: Bool
  /// For messages.
  let path: String

  var l1: [UInt64]
  var dirtyL1: SectorSet
  /// By their index in the L1 table.
  var tables: [Int: L2Table] = [:]
  /// Tables that are being read or made.
  var loads: [Int: Lazy<Void>] = [:]
  /// Moves with every question to a table.
  var clock: UInt64 = 0

  /// Clusters that may be handed out; they are counted as used already, or will be by the next flush.
  var ready = ClusterPool()
  /// Clusters that are counted as free.
  var free = ClusterPool()
  /// How many clusters the file has; none behind was ever handed out.
  var end: UInt64
  /// Reference counts that the file does not have yet, in the order they were set.
  var counts: [CountChange] = []
  /// Where the refcount blocks are; 0 for none.
  var blocks: [UInt64]
  /// Blocks that the refcount table in the file does not name yet.
  var newBlocks: [Int] = []
  /// Blocks that were there when the file was opened are looked through for free clusters when
  /// some are needed: the next to look at, and the end.
  var unscanned: Range<Int>

  /// Clusters that no entry in memory names any more, but the file's may.
  var freed: [Range<UInt64>] = []
  /// Clusters that no entry in the file names any more, but a read may still be at, and the flush
  /// since which that is so.
  var quarantine: [(generation: UInt64, runs: [Range<UInt64>])] = []
  /// Counts flushes that ended well.
  var generation: UInt64 = 0

  /// Flushes asked for, and how many of those are done.
  var flushesAsked: UInt64 = 0
  var flushesDone: UInt64 = 0
  var isClosed = false
  /// Why nothing can be written any more.
  var broken: DiskError? = nil

  /// The cluster counts of a run.
  struct CountChange: Sendable {
    let run: Range<UInt64>
    let value: UInt16
  }

  /// How a part of the disk falls into the tables.
  func table(of offset: UInt64) -> (index: Int, at: UInt64) {
    (Int(offset / geometry.bytesPerTable), offset % geometry.bytesPerTable)
  }

  /// - Throws: why the overlay takes no changes.
  func requireOpen() throws(DiskError) {
    if let broken { throw broken }
    guard !isClosed else {
      throw DiskError(.invalidRequest, "the overlay is closed", path: path)
    }
  }

  /// Which clusters hold the file's own structures, as far as they are known without reading a table.
  func isMetadata(_ cluster: UInt64) -> Bool { metadata.contains(cluster) }
  var metadata: Set<UInt64>
}

// MARK: - Reading

extension OverlayState {
  /// What is at `offset`; nil where the table that says so must be loaded first.
  mutating func extent(
    at offset: UInt64, limit: UInt64, in storage: any Storage
  ) -> Extent? {
    let (index, at) = table(of: offset)
    guard l1[index] & L2Entry.hostMask != 0 else {
      return Extent(absent(offset), length: absentTables(from: index, limit + at) - at)
    }
    clock += 1
    let now = clock
    guard tables[index] != nil else { return nil }
    tables[index]?.lastUse = now
    do throws(DiskError) {
      guard let run = try tables[index]?.run(at: at, limit: limit, geometry) else { return nil }
      switch run.kind {
      case .stored:
        return Extent(.stored(storage, at: FileOffset(run.host)), length: run.length)
      case .zero: return Extent(.zero, length: run.length)
      case .below: return Extent(absent(offset), length: run.length)
      }
    } catch {
      return Extent(
        .unreadable(error), length: geometry.clusterSize - at % geometry.clusterSize)
    }
  }

  private func absent(_ offset: UInt64) -> Extent.Place {
    hasBase ? .below(DiskOffset(offset)) : .zero
  }

  /// How many bytes of the disk from table `index` on have no table, at least as far as `limit`
  /// where that is so.
  private func absentTables(from index: Int, _ limit: UInt64) -> UInt64 {
    var end = index + 1
    var length = geometry.bytesPerTable
    while length < limit, end < l1.count, l1[end] & L2Entry.hostMask == 0 {
      end += 1
      length += geometry.bytesPerTable
    }
    return length
  }
}

// MARK: - Writing

/// What a change of the tables needs before it can be made.
enum OverlayStep<Result: Sendable>: Sendable {
  case done(Result)
  /// The table of this index, made where there is none.
  case needsTable(Int)
  /// Clusters that may be handed out.
  case needsClusters
}

extension OverlayState {
  mutating func reserve(
    at offset: UInt64, length: UInt64, in storage: any WritableStorage
  ) throws(DiskError) -> OverlayStep<Reservation> {
    try requireOpen()
    let (index, at) = table(of: offset)
    guard tables[index] != nil else { return .needsTable(index) }
    let first = Int(at / geometry.clusterSize)
    let entry = try writable(first, of: index)
    // Never past the table's end.
    let end = min(at + length, geometry.bytesPerTable)
    let last = Int((end - 1) / geometry.clusterSize)
    var found = first + 1
    if entry.host == 0 {
      while found <= last, tables[index]?[found].host == 0, tables[index]?.error(found) == nil {
        found += 1
      }
      guard let run = ready.take(upTo: UInt64(found - first)) else { return .needsClusters }
      for cluster in run {
        place(cluster, at: first + Int(cluster - run.lowerBound), of: index)
      }
      found = first + run.count
    }
    let host = tables[index]?[first].host ?? 0
    // Clusters that follow each other in the file as they do in the disk.
    while found <= last, let next = tables[index]?[found], next.isCopied,
      next.host == host + UInt64(found - first) * geometry.clusterSize,
      tables[index]?.error(found) == nil
    { found += 1 }
    let reached = min(end, UInt64(found) * geometry.clusterSize)
    tables[index]?.pins += 1
    clock += 1
    tables[index]?.lastUse = clock
    return .done(
      Reservation(
        storage, at: FileOffset(host + at % geometry.clusterSize), offset: DiskOffset(offset),
        length: reached - at, before: isStored(at, of: index) ? 0 : at % geometry.unit,
        after: isStored(reached - 1, of: index)
          ? 0 : (geometry.unit - reached % geometry.unit) % geometry.unit))
  }

  /// The entry of a cluster that is to be written.
  ///
  /// - Throws: what is wrong with it.
  private func writable(_ cluster: Int, of index: Int) throws(DiskError) -> L2Entry {
    guard let entry = try tables[index]?.checked(cluster) else { return .absent }
    guard entry.host == 0 || entry.isCopied else {
      throw DiskError(
        .unsupported, "a cluster that a snapshot shares cannot be written yet", path: path,
        offset: entry.host)
    }
    return entry
  }

  /// Gives a cluster of the disk its place. None of it is stored there yet, so that this may reach
  /// the file before the data does.
  private mutating func place(_ cluster: UInt64, at entry: Int, of index: Int) {
    guard let old = tables[index]?[entry] else { return }
    tables[index]?[entry] = L2Entry(
      host: cluster * geometry.clusterSize, allocated: old.allocated, zeros: old.zeros)
  }

  private func isStored(_ at: UInt64, of index: Int) -> Bool {
    let cluster = Int(at / geometry.clusterSize)
    let unit = Int(at % geometry.clusterSize / geometry.unit)
    return tables[index]?[cluster].kind(unit) == .stored
  }

  /// Calls `body` for each cluster that the bytes `range` of a table's part of the disk touch, with
  /// the bits of the subclusters touched.
  private func forEachCluster(_ range: Range<UInt64>, _ body: (Int, UInt32) -> Void) {
    var at = range.lowerBound
    while at < range.upperBound {
      let cluster = at / geometry.clusterSize
      let start = cluster * geometry.clusterSize
      let end = min(range.upperBound, start + geometry.clusterSize)
      let units =
        Int((at - start) / geometry.unit)..<Int((end - start + geometry.unit - 1) / geometry.unit)
      body(Int(cluster), L2Entry.mask(units))
      at = end
    }
  }

  mutating func publish(_ place: Reservation) {
    let (index, at) = table(of: place.offset.bytes)
    guard var table = tables.removeValue(forKey: index) else { return }
    forEachCluster(at - place.before..<at + place.length + place.after) { cluster, mask in
      let old = table[cluster]
      // An entry without a place is one that a mistake in the caller let be discarded meanwhile.
      guard old.host != 0 else { return }
      table[cluster] = L2Entry(
        host: old.host, allocated: old.allocated | mask, zeros: old.zeros & ~mask)
    }
    table.pins -= 1
    tables[index] = table
  }

  mutating func abandon(_ place: Reservation) {
    let (index, at) = table(of: place.offset.bytes)
    guard var table = tables.removeValue(forKey: index) else { return }
    table.pins -= 1
    // Another reservation may be for the same clusters.
    if table.pins == 0 {
      forEachCluster(at..<at + place.length) { cluster, _ in
        let old = table[cluster]
        guard old.host != 0, old.allocated == 0 else { return }
        table[cluster] = L2Entry(host: 0, allocated: 0, zeros: old.zeros)
        freed.append(clusters(at: old.host))
      }
    }
    tables[index] = table
  }

  /// Discards as far as one table reaches, and gives the number of bytes.
  mutating func discard(
    at offset: UInt64, length: UInt64
  ) throws(DiskError) -> OverlayStep<UInt64> {
    try requireOpen()
    let (index, at) = table(of: offset)
    let done = min(length, geometry.bytesPerTable - at)
    if tables[index] == nil {
      guard hasBase || l1[index] & L2Entry.hostMask != 0 else { return .done(done) }
      return .needsTable(index)
    }
    // What lies past the disk's end is not kept for.
    let end =
      offset + done == size
      ? (at + done + geometry.clusterSize - 1) / geometry.clusterSize * geometry.clusterSize
      : at + done
    var bad: DiskError? = nil
    forEachCluster(at..<end) { cluster, _ in
      do throws(DiskError) { _ = try writable(cluster, of: index) } catch { bad = error }
    }
    if let bad { throw bad }
    guard var table = tables.removeValue(forKey: index) else { return .needsTable(index) }
    forEachCluster(at..<end) { cluster, mask in
      let old = table[cluster]
      let allocated = old.allocated & ~mask
      var host = old.host
      // A reservation may still be for another part of the cluster.
      if host != 0, allocated == 0, mask == .max || table.pins == 0 {
        freed.append(clusters(at: host))
        host = 0
      }
      table[cluster] = L2Entry(
        host: host, allocated: allocated, zeros: hasBase ? old.zeros | mask : old.zeros & ~mask)
    }
    clock += 1
    table.lastUse = clock
    tables[index] = table
    return .done(done)
  }

  private func clusters(at host: UInt64) -> Range<UInt64> {
    let cluster = host / geometry.clusterSize
    return cluster..<cluster + 1
  }

  /// Lets tables that are not needed leave memory until `capacity` are left; `kept` stays.
  mutating func evict(capacity: Int, keeping kept: Int) {
    while tables.count > capacity {
      let idle = tables.filter { $0.value.isIdle && $0.key != kept }
      guard let oldest = idle.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
      tables[oldest.key] = nil
    }
  }

  var dirtyTables: Int { tables.count { !$0.value.dirty.isEmpty } }
}
