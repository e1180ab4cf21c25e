extension Window {
  /// The first block that cannot be read of `count` bytes from `offset` on, for messages: what it holds of
  /// the disk, in bytes from the disk's start. Reads and decodes them once more.
  ///
  /// - Returns: nil where all of them can be read by now.
  public func unreadableBlock(at offset: DiskOffset, count: UInt64) -> Range<UInt64>? {
    disk.unreadableBlock(in: (start + offset.bytes).bytes..<(start + offset.bytes + count).bytes)
  }
}

extension Disk {
  /// What is stored is looked at in pieces of this size, in bytes.
  private static let page: UInt64 = 4096

  fileprivate func unreadableBlock(in range: Range<UInt64>) -> Range<UInt64>? {
    let wanted = range.clamped(to: 0..<size)
    var bytes = [UInt8](repeating: 0, count: Int(Self.page))
    var place = wanted.lowerBound
    while place < wanted.upperBound {
      let limit = wanted.upperBound - place
      guard let extent = try? resolve(DiskOffset(place), limit: limit).extent else {
        return place..<wanted.upperBound
      }
      var length = min(extent.length, limit)
      if case .unreadable = extent.place { return place..<place + extent.length }
      // A page, or up to its end.
      length = min(length, Self.page - place % Self.page)
      var elements = bytes.mutableSpan
      var buffer = unsafe elements.mutableBytes
      var target = buffer._mutatingExtracting(0..<Int(length))
      if (try? read(at: DiskOffset(place), into: &target)) == nil {
        guard case .encoded(let decoder, let index, let at) = extent.place else {
          return place..<place + length
        }
        let start = place - min(place, UInt64(at))
        return start..<min(size, start + UInt64(decoder.decodedBytes(of: index)))
      }
      place += length
    }
    return nil
  }
}
