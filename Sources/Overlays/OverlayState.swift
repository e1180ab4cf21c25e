internal import DiskCore
internal import ImageFormats

/// The tables of an open overlay, as they are in memory. Nothing here does I/O: what needs some says
/// so, and the overlay does it without the lock and asks again.
struct OverlayState: Sendable {
  let geometry: OverlayGeometry
  let size: UInt64
  /// Without a base, what is not here reads as zeros.
  let hasBase: Bool
  /// Nil where clusters cannot be compressed.
  let compressed: QCOW2CompressedClusters?
  /// For messages.
  let path: String

  /// Where the active L1 table is in the file.
  var l1At: UInt64
  var l1: [UInt64]
  var dirtyL1: SectorSet
  /// By their index in the L1 table.
  var tables: [Int: L2Table] = [:]
  /// Tables that are being read or made, each by one attempt.
  var loads: [Int: (number: UInt64, attempt: Lazy<Void>)] = [:]
  var loadsBegun: UInt64 = 0
  /// Clusters of the disk that are being moved from one they share with a snapshot.
  var moves: [UInt64: Lazy<Void>] = [:]
  /// How often the tables as a whole were exchanged.
  var epoch: UInt64 = 0
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
  /// Where the refcount table is, which changes only while `growing` is held.
  var blockTableAt: UInt64
  /// The counts above 1, as they will be when `counts` are written. Empty where the file was opened
  /// without snapshots.
  var shared = ClusterCounts()
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
    // Looked up once, and changed where it is: this is the hot path.
    guard let slot = tables.index(forKey: index) else { return nil }
    clock += 1
    do throws(DiskError) {
      let run = try tables.values[slot].ask(at: at, limit: limit, geometry, now: clock)
      switch run.kind {
      case .stored:
        return Extent(.stored(storage, at: FileOffset(run.host)), length: run.length)
      case .zero: return Extent(.zero, length: run.length)
      case .below: return Extent(absent(offset), length: run.length)
      case .compressed:
        guard let compressed else { return Extent(absent(offset), length: run.length) }
        return Extent(
          .encoded(
            compressed.decoder, index: compressed.index(of: run.host),
            at: Int(at % geometry.clusterSize)), length: run.length)
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
  /// A place of its own for this cluster of the table.
  case needsMove(table: Int, cluster: Int)
}

extension OverlayState {
  mutating func reserve(
    at offset: UInt64, length: UInt64, in storage: any WritableStorage
  ) throws(DiskError) -> OverlayStep<Reservation> {
    try requireOpen()
    let (index, at) = table(of: offset)
    guard let slot = changeable(index) else { return .needsTable(index) }
    let end = min(at + length, geometry.bytesPerTable)
    let first = Int(at / geometry.clusterSize)
    let entry = try tables.values[slot].checked(first)
    guard entry.host == 0 || entry.isCopied else {
      return .needsMove(table: index, cluster: first)
    }
    if entry.host == 0 {
      let last = Int((end - 1) / geometry.clusterSize)
      let wanted = tables.values[slot].placelessRun(from: first, through: last)
      guard let run = ready.take(upTo: UInt64(wanted)) else { return .needsClusters }
      tables.values[slot].place(run, from: first, geometry)
    }
    clock += 1
    let found = tables.values[slot].reserve(at: at, end: end, geometry, now: clock)
    return .done(
      Reservation(
        storage, at: FileOffset(found.host), offset: DiskOffset(offset),
        length: found.end - at, before: found.before, after: found.after))
  }

  /// A table in memory that no snapshot has too.
  func changeable(_ index: Int) -> Dictionary<Int, L2Table>.Index? {
    guard l1[index] & L2Entry.copied != 0 else { return nil }
    return tables.index(forKey: index)
  }

  mutating func publish(_ place: Reservation) {
    let (index, at) = table(of: place.offset.bytes)
    guard let slot = tables.index(forKey: index) else { return }
    tables.values[slot].publish(
      at - place.before..<at + place.length + place.after, geometry)
  }

  mutating func abandon(_ place: Reservation) {
    let (index, at) = table(of: place.offset.bytes)
    guard var table = tables.removeValue(forKey: index) else { return }
    table.pins -= 1
    // Another reservation may be for other subclusters of the same clusters.
    if table.pins == 0 || !geometry.hasSubclusters {
      geometry.forEachCluster(at..<at + place.length) { cluster, _ in
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
    guard let slot = changeable(index) else {
      guard hasBase || l1[index] & L2Entry.hostMask != 0 else { return .done(done) }
      return .needsTable(index)
    }
    // What lies past the disk's end is not kept for.
    let end =
      offset + done == size
      ? (at + done + geometry.clusterSize - 1) / geometry.clusterSize * geometry.clusterSize
      : at + done
    var bad: DiskError? = nil
    // A part of a compressed cluster is not discarded by itself.
    var whole: Int? = nil
    geometry.forEachCluster(at..<end) { cluster, mask in
      if let error = tables.values[slot].error(cluster) { bad = error }
      if mask != .max, tables.values[slot][cluster].isCompressed { whole = cluster }
    }
    if let bad { throw bad }
    if let whole { return .needsMove(table: index, cluster: whole) }
    guard var table = tables.removeValue(forKey: index) else { return .needsTable(index) }
    geometry.forEachCluster(at..<end) { cluster, mask in
      let old = table[cluster]
      let allocated = old.isCompressed ? 0 : old.allocated & ~mask
      var new = old
      // A reservation may still be for another part of the cluster.
      if old.host != 0, allocated == 0, mask == .max || table.pins == 0 {
        freed.append(rules.clusters(of: old))
        new.descriptor = 0
      }
      // What is left of a shared cluster stays where it is.
      new.setSubclusters(
        allocated: allocated, zeros: hasBase ? old.zeros | mask : old.zeros & ~mask)
      table[cluster] = new
    }
    clock += 1
    table.lastUse = clock
    tables[index] = table
    return .done(done)
  }

  func clusters(at host: UInt64) -> Range<UInt64> {
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
