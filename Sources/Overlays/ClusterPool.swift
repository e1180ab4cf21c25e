/// Clusters of the file that nobody uses, as runs.
struct ClusterPool: Sendable {
  /// How many runs are looked at for one that is long enough.
  private static let lookedAt = 32

  /// From the last in the file to the first, not touching: the next to be handed out is at the
  /// array's end.
  private(set) var runs: [Range<UInt64>] = []

  var isEmpty: Bool { runs.isEmpty }

  mutating func add(_ run: Range<UInt64>) {
    guard !run.isEmpty else { return }
    var low = 0
    var high = runs.count
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].lowerBound > run.lowerBound { low = middle + 1 } else { high = middle }
    }
    runs.insert(run, at: low)
    join(at: low)
    if low > 0 { join(at: low - 1) }
  }

  mutating func add(_ more: [Range<UInt64>]) {
    guard more.count > 8 else {
      for run in more { add(run) }
      return
    }
    let all = (runs + more).filter { !$0.isEmpty }.sorted { $0.lowerBound > $1.lowerBound }
    runs = []
    for run in all {
      if let last = runs.last, last.lowerBound == run.upperBound {
        runs[runs.count - 1] = run.lowerBound..<last.upperBound
      } else {
        runs.append(run)
      }
    }
  }

  /// Takes up to `count` clusters in a row, as many as a look at a few runs finds; nil where there
  /// is none.
  mutating func take(upTo count: UInt64) -> Range<UInt64>? {
    guard let first = runs.last else { return nil }
    var index = runs.count - 1
    if UInt64(first.count) < count {
      let end = max(0, runs.count - Self.lookedAt)
      index = (end..<runs.count).reversed().first { UInt64(runs[$0].count) >= count } ?? index
    }
    let run = runs[index]
    let taken = run.lowerBound..<min(run.upperBound, run.lowerBound + count)
    if taken == run {
      runs.remove(at: index)
    } else {
      runs[index] = taken.upperBound..<run.upperBound
    }
    return taken
  }

  /// Takes everything.
  mutating func takeAll() -> [Range<UInt64>] {
    defer { runs = [] }
    return runs
  }

  /// Takes the run that ends at `end`, if there is one, and gives where it starts.
  mutating func cutTail(endingAt end: UInt64) -> UInt64 {
    guard let last = runs.first, last.upperBound == end else { return end }
    runs.removeFirst()
    return last.lowerBound
  }

  /// Joins the run at `index` with the one behind it in the array, which lies before it in the file.
  private mutating func join(at index: Int) {
    guard index + 1 < runs.count, runs[index + 1].upperBound == runs[index].lowerBound else {
      return
    }
    runs[index] = runs[index + 1].lowerBound..<runs[index].upperBound
    runs.remove(at: index + 1)
  }
}
