public import DiskCore
internal import ImageFormats

extension OverlayOnBase {
  private static let sector: UInt64 = 512
  private static let piece: UInt64 = 1 << 20

  /// Calls `visit` for each range of the disk that differs from the base, in order, in whole sectors of
  /// 512 bytes (but for the disk's end). What the overlay holds and is the same does not count.
  ///
  /// - Throws: `invalidRequest` where the sizes differ; what reading or `visit` throws.
  public func forEachDifference(
    _ visit: (Range<UInt64>) throws(DiskError) -> Void
  ) throws(DiskError) {
    try requireSameSize()
    let base = try Disk(layers: baseLayers)
    var open: Range<UInt64>? = nil
    try overlay.forEachHeld { (held) throws(DiskError) in
      var place = held.range.lowerBound
      while place < held.range.upperBound {
        let rest = held.range.upperBound - place
        let below = try base.whole.mapEntry(at: DiskOffset(place), limit: rest)
        let length: UInt64
        if case .zero = below.content, held.isZero {
          length = below.length
        } else {
          length = min(Self.piece, rest)
          try compare(base, place..<place + length) { (range) throws(DiskError) in
            if let last = open, last.upperBound == range.lowerBound {
              open = last.lowerBound..<range.upperBound
            } else {
              if let open { try visit(open) }
              open = range
            }
          }
        }
        place += length
      }
    }
    if let open { try visit(open) }
  }

  private func compare(
    _ base: Disk, _ range: Range<UInt64>, _ visit: (Range<UInt64>) throws(DiskError) -> Void
  ) throws(DiskError) {
    let count = range.count
    let now = try image.disk.whole.bytes(at: DiskOffset(range.lowerBound), count: count)
    let before = try base.whole.bytes(at: DiskOffset(range.lowerBound), count: count)
    guard now != before else { return }
    var place = 0
    var start: Int? = nil
    while place < count {
      let end = min(count, place + Int(Self.sector))
      if now[place..<end] != before[place..<end] {
        start = start ?? place
      } else if let from = start {
        try visit(range.lowerBound + UInt64(from)..<range.lowerBound + UInt64(place))
        start = nil
      }
      place = end
    }
    if let start { try visit(range.lowerBound + UInt64(start)..<range.upperBound) }
  }
}
