internal import DiskCore

/// An L2 table in memory.
struct L2Table: Sendable {
  /// Where it is in the file.
  let at: UInt64
  /// Two for each entry, as an extended one has them.
  private(set) var words: [UInt64]
  /// How many each entry has in the file.
  let wordsPerEntry: Int
  /// What the file does not have yet.
  var dirty: SectorSet
  /// A flush is writing what was dirty: until it is there, the table cannot be read again.
  var isBeingWritten = false
  /// Reservations that are neither published nor abandoned.
  var pins = 0
  /// When it was last asked, on the overlay's clock.
  var lastUse: UInt64 = 0
  /// Entries that cannot be right, and why.
  private let bad: [Int: DiskError]

  /// - Parameter words: two for each entry.
  init(
    at: UInt64, words: [UInt64], _ geometry: OverlayGeometry, bad: [Int: DiskError] = [:]
  ) {
    self.at = at
    self.words = words
    self.bad = bad
    wordsPerEntry = geometry.wordsPerEntry
    dirty = SectorSet(words: words.count / 2 * wordsPerEntry)
  }

  var count: Int { words.count / 2 }

  /// - Throws: what is wrong with the entry.
  func checked(_ index: Int) throws(DiskError) -> L2Entry {
    if let error = bad[index] { throw error }
    return self[index]
  }

  func error(_ index: Int) -> DiskError? { bad.isEmpty ? nil : bad[index] }

  subscript(index: Int) -> L2Entry {
    get { L2Entry(descriptor: words[2 * index], bitmap: words[2 * index + 1]) }
    set {
      guard newValue != self[index] else { return }
      words[2 * index] = newValue.descriptor
      words[2 * index + 1] = newValue.bitmap
      dirty.insert(word: wordsPerEntry * index)
    }
  }

  /// Whether it may leave memory.
  var isIdle: Bool { dirty.isEmpty && !isBeingWritten && pins == 0 }

  /// As `run(at:limit:_:)`, at a moment of the overlay's clock.
  mutating func ask(
    at offset: UInt64, limit: UInt64, _ geometry: OverlayGeometry, now: UInt64
  ) throws(DiskError) -> (kind: SubclusterKind, host: UInt64, length: UInt64) {
    lastUse = now
    return try run(at: offset, limit: limit, geometry)
  }

  /// The content of the table's part of the disk at `offset` in it: what it is, where it is stored
  /// (of a compressed cluster, its descriptor), and how far that holds, in bytes, as far as `limit` or
  /// the table reaches.
  func run(
    at offset: UInt64, limit: UInt64, _ geometry: OverlayGeometry
  ) throws(DiskError) -> (kind: SubclusterKind, host: UInt64, length: UInt64) {
    var index = Int(offset / geometry.clusterSize)
    let within = offset % geometry.clusterSize
    let first = Int(within / geometry.grain)
    let entry = try checked(index)
    let kind = entry.kind(first)
    var run = entry.run(of: kind, from: first)
    var length = UInt64(run) * geometry.grain - within % geometry.grain
    var reached = first + run
    if kind == .compressed { return (kind, entry.descriptor, length) }
    var host = entry.host
    while reached == 32, length < limit, index + 1 < count {
      index += 1
      let next = self[index]
      host += geometry.clusterSize
      guard error(index) == nil, !next.isCompressed, kind != .stored || next.host == host else {
        break
      }
      run = next.run(of: kind, from: 0)
      length += UInt64(run) * geometry.grain
      reached = run
    }
    return (kind, entry.host + within, length)
  }
}

// MARK: - Writing

extension L2Table {
  /// How many clusters from `first` to `last` in a row have no place in the file; the first has none.
  func placelessRun(from first: Int, through last: Int) -> Int {
    var end = first + 1
    while end <= last, self[end].host == 0, error(end) == nil { end += 1 }
    return end - first
  }

  /// Gives clusters of the disk their places. Nothing is stored there yet, so that this may reach
  /// the file before the data does.
  mutating func place(
    _ run: Range<UInt64>, from first: Int, _ geometry: OverlayGeometry
  ) {
    for cluster in run {
      let index = first + Int(cluster - run.lowerBound)
      let old = self[index]
      self[index] = L2Entry(
        host: cluster * geometry.clusterSize, allocated: old.allocated, zeros: old.zeros)
    }
  }

  /// Keeps the place of the bytes from `at` on for somebody who writes them: how far they follow
  /// each other in the file, at most to `end`, and what must come along because it is not stored.
  mutating func reserve(
    at: UInt64, end: UInt64, _ geometry: OverlayGeometry, now: UInt64
  ) -> (host: UInt64, end: UInt64, before: UInt64, after: UInt64) {
    let first = Int(at / geometry.clusterSize)
    let last = Int((end - 1) / geometry.clusterSize)
    let host = self[first].host
    var found = first + 1
    while found <= last, self[found].isCopied, error(found) == nil,
      self[found].host == host + UInt64(found - first) * geometry.clusterSize
    { found += 1 }
    let reached = min(end, UInt64(found) * geometry.clusterSize)
    pins += 1
    lastUse = now
    return (
      host + at % geometry.clusterSize, reached,
      isStored(at, geometry) ? 0 : at % geometry.unit,
      isStored(reached - 1, geometry)
        ? 0 : (geometry.unit - reached % geometry.unit) % geometry.unit
    )
  }

  private func isStored(_ at: UInt64, _ geometry: OverlayGeometry) -> Bool {
    let grain = Int(at % geometry.clusterSize / geometry.grain)
    return self[Int(at / geometry.clusterSize)].kind(grain) == .stored
  }

  /// The bytes `range` are stored.
  mutating func publish(_ range: Range<UInt64>, _ geometry: OverlayGeometry) {
    geometry.forEachCluster(range) { cluster, mask in
      var entry = self[cluster]
      // An entry without a place is one that a mistake in the caller let be discarded meanwhile.
      guard entry.host != 0 else { return }
      entry.setSubclusters(allocated: entry.allocated | mask, zeros: entry.zeros & ~mask)
      self[cluster] = entry
    }
    pins -= 1
  }
}
