internal import DiskCore

/// An L2 table in memory.
struct L2Table: Sendable {
  /// Where it is in the file.
  let at: UInt64
  /// Two for each entry.
  private(set) var words: [UInt64]
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

  init(at: UInt64, words: [UInt64], bad: [Int: DiskError] = [:]) {
    self.at = at
    self.words = words
    self.bad = bad
    dirty = SectorSet(words: words.count)
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
      dirty.insert(word: 2 * index)
    }
  }

  /// Whether it may leave memory.
  var isIdle: Bool { dirty.isEmpty && !isBeingWritten && pins == 0 }

  /// The content of the table's part of the disk at `offset` in it: what it is, where it is stored,
  /// and how far that holds, in bytes, as far as `limit` or the table reaches.
  func run(
    at offset: UInt64, limit: UInt64, _ geometry: OverlayGeometry
  ) throws(DiskError) -> (kind: SubclusterKind, host: UInt64, length: UInt64) {
    var index = Int(offset / geometry.clusterSize)
    let within = offset % geometry.clusterSize
    let first = Int(within / geometry.unit)
    let entry = try checked(index)
    let kind = entry.kind(first)
    var run = entry.run(of: kind, from: first)
    var length = UInt64(run) * geometry.unit - within % geometry.unit
    var reached = first + run
    var host = entry.host
    while reached == 32, length < limit, index + 1 < count {
      index += 1
      let next = self[index]
      host += geometry.clusterSize
      guard error(index) == nil, kind != .stored || next.host == host else { break }
      run = next.run(of: kind, from: 0)
      length += UInt64(run) * geometry.unit
      reached = run
    }
    return (kind, entry.host + within, length)
  }
}
