/// How often each cluster of the file is referred to; 0 where nothing is said. Kept in small pages, so
/// that a file that claims to be huge costs no more memory than it has counts.
struct ClusterCounts: Sendable {
  /// Counts in a page of 1 KiB.
  private static let perPage: UInt64 = 512
  private static let empty = [UInt16](repeating: 0, count: Int(perPage))

  private var pages: [UInt64: [UInt16]] = [:]
  /// Behind the last cluster that was ever counted.
  private(set) var end: UInt64 = 0

  /// Nothing was ever counted.
  var isEmpty: Bool { pages.isEmpty }

  subscript(cluster: UInt64) -> UInt16 {
    get { pages[cluster / Self.perPage]?[Int(cluster % Self.perPage)] ?? 0 }
    set {
      guard newValue != 0 || pages[cluster / Self.perPage] != nil else { return }
      pages[cluster / Self.perPage, default: Self.empty][Int(cluster % Self.perPage)] = newValue
      if newValue != 0 { end = max(end, cluster + 1) }
    }
  }

  /// Counts `times` more; false where a count of 16 bits cannot say that.
  mutating func add(_ cluster: UInt64, times: Int = 1) -> Bool {
    guard times > 0 else { return true }
    let place = Int(cluster % Self.perPage)
    let sum = Int(self[cluster]) + times
    guard sum <= Int(UInt16.max) else { return false }
    pages[cluster / Self.perPage, default: Self.empty][place] = UInt16(sum)
    end = max(end, cluster + 1)
    return true
  }

  /// Calls `visit` for each cluster whose count is not 0, in order.
  func forEachCounted<Failure: Error>(
    _ visit: (UInt64, UInt16) throws(Failure) -> Void
  ) throws(Failure) {
    for key in pages.keys.sorted() {
      guard let page = pages[key] else { continue }
      for (place, count) in page.enumerated() where count != 0 {
        try visit(key * Self.perPage + UInt64(place), count)
      }
    }
  }

  /// The clusters below `limit` whose count is 0, in order.
  func free(below limit: UInt64) -> [Range<UInt64>] {
    var runs: [Range<UInt64>] = []
    var start: UInt64 = 0
    forEachCounted { cluster, _ in
      if start < min(cluster, limit) { runs.append(start..<min(cluster, limit)) }
      start = cluster + 1
    }
    if start < limit { runs.append(start..<limit) }
    return runs
  }

  /// The clusters that are counted here, and in `other` are not, in order.
  func notCounted(in other: ClusterCounts) -> [Range<UInt64>] {
    var runs: [Range<UInt64>] = []
    forEachCounted { cluster, _ in
      guard other[cluster] == 0 else { return }
      if let last = runs.last, last.upperBound == cluster {
        runs[runs.count - 1] = last.lowerBound..<cluster + 1
      } else {
        runs.append(cluster..<cluster + 1)
      }
    }
    return runs
  }

  /// The counts of a range as they stand in a refcount block.
  func bytes(of range: Range<UInt64>) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count * 2)
    for key in range.lowerBound / Self.perPage...(range.upperBound - 1) / Self.perPage {
      guard let page = pages[key] else { continue }
      let first = key * Self.perPage
      for cluster in range.clamped(to: first..<first + Self.perPage) {
        bytes.putBig(page[Int(cluster - first)], at: Int(cluster - range.lowerBound) * 2)
      }
    }
    return bytes
  }

  /// Which refcount blocks of `perBlock` counts have one that is not 0.
  func blocks(of perBlock: UInt64) -> Set<UInt64> {
    var blocks: Set<UInt64> = []
    var last = UInt64.max
    forEachCounted { cluster, _ in
      guard cluster / perBlock != last else { return }
      last = cluster / perBlock
      blocks.insert(last)
    }
    return blocks
  }

  /// The counts above 1 alone.
  var shared: ClusterCounts {
    var shared = ClusterCounts()
    forEachCounted { cluster, count in
      if count > 1 { shared[cluster] = count }
    }
    return shared
  }
}
