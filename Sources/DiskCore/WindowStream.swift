extension Window {
  /// Gives the whole window to `consume`, in order, in pieces of at most `pieceSize` bytes that are
  /// valid during the call only. What is known to be zeros is not read.
  ///
  /// - Throws: what the disk or `consume` throws.
  public func stream(
    pieceSize: Int = 1 << 20, to consume: (RawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    let largest = UInt64(pieceSize)
    var bytes = [UInt8](repeating: 0, count: Int(min(largest, size)))
    var isZero = true
    var cursor = RegionCursor()
    var place = DiskOffset.start
    while place.bytes < size {
      let entry = try mapEntry(at: place, &cursor)
      var elements = bytes.mutableSpan
      var buffer = unsafe elements.mutableBytes
      let count: Int
      if case .zero = entry.content {
        count = Int(min(largest, entry.length))
        if !isZero { buffer.fillWithZeros() }
        isZero = true
      } else {
        // Whole pieces, whatever the next ranges are: the engine reads across them.
        count = Int(min(largest, size - place.bytes))
        var piece = buffer._mutatingExtracting(0..<count)
        try read(at: place, into: &piece)
        isZero = false
      }
      let filled = buffer._mutatingExtracting(0..<count)
      try consume(filled.bytes)
      place = place + UInt64(count)
    }
  }
}
