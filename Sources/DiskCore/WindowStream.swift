extension Window {
  /// Gives the whole window to `consume`, in order, in pieces of `pieceSize` bytes (the last can be
  /// shorter) that are valid during the call only.
  ///
  /// - Throws: what the disk or `consume` throws.
  public func stream(
    pieceSize: Int = 1 << 20, to consume: (RawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    var bytes = [UInt8](repeating: 0, count: Int(min(UInt64(pieceSize), size)))
    var place = DiskOffset.start
    while place.bytes < size {
      let count = Int(min(UInt64(pieceSize), size - place.bytes))
      var elements = bytes.mutableSpan
      var all = unsafe elements.mutableBytes
      var piece = all._mutatingExtracting(0..<count)
      try read(at: place, into: &piece)
      try consume(piece.bytes)
      place = place + UInt64(count)
    }
  }
}
