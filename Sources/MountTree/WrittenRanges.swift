/// Where a program has written that believes to have emptied its file first (`O_TRUNC`).
///
/// A disk cannot be emptied, and what a program writes to it from the start replaces what was there. But
/// `cp` skips the holes of its source, trusting that they read as zeros: those gaps are made zeros when
/// the file is closed.
public struct WrittenRanges: Sendable {
  /// Programs that copy write from the start to the end. Whoever writes more pieces than this here and
  /// there is not copying.
  static let most = 1 << 16

  /// In order, not touching each other.
  private var ranges: [Range<UInt64>] = []
  /// Where the file ends after `ftruncate(2)`.
  private var sizeSet: UInt64 = 0
  private var isGivenUp = false

  public init() {}

  public mutating func add(_ range: Range<UInt64>) {
    guard !isGivenUp, !range.isEmpty else { return }
    // The first that does not end before the new one.
    var low = 0
    var high = ranges.count
    if let last = ranges.last, last.upperBound < range.lowerBound { low = high }
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < range.lowerBound { low = middle + 1 } else { high = middle }
    }
    var joined = range
    var end = low
    while end < ranges.count, ranges[end].lowerBound <= range.upperBound {
      joined =
        min(
          joined.lowerBound, ranges[end].lowerBound)..<max(
          joined.upperBound, ranges[end].upperBound)
      end += 1
    }
    ranges.replaceSubrange(low..<end, with: [joined])
    if ranges.count > Self.most {
      isGivenUp = true
      ranges = []
    }
  }

  /// Where the last byte that was written ends.
  public var end: UInt64 { max(sizeSet, ranges.last?.upperBound ?? 0) }

  /// The file was made to end at `size`, which is not less than `end`.
  public mutating func addEnd(_ size: UInt64) { sizeSet = max(sizeSet, size) }

  /// What was skipped before `end`.
  public var gaps: [Range<UInt64>] {
    guard !isGivenUp else { return [] }
    var gaps: [Range<UInt64>] = []
    var place: UInt64 = 0
    for range in ranges {
      if range.lowerBound > place { gaps.append(place..<range.lowerBound) }
      place = range.upperBound
    }
    if end > place { gaps.append(place..<end) }
    return gaps
  }
}
