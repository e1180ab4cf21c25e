internal import Synchronization

extension Window {
  /// How many bytes of the window are stored, for `st_blocks`.
  ///
  /// Exact where the layers' tables are at most `Limits.exactlyCountedTables`, not far in a compressed
  /// stream, and the extents not more than `Limits.countedExtents`; otherwise an upper bound that reads no table and stays below `size`
  /// wherever there can be holes, which is how `cp` and `tar` know to look for them.
  public func allocatedBytes() -> UInt64 {
    let tables = disk.layers.reduce(0 as UInt64) { $0 + $1.tableBytes }
    let isFar = disk.hasFarTables
    if tables <= Limits.exactlyCountedTables, !isFar {
      var cursor = RegionCursor()
      let range = start.bytes..<start.bytes + size
      if let exact = try? disk.countStored(range, from: 0, &cursor) { return exact }
    }
    let stored = disk.files.reduce(0 as UInt64) { $0 + $1.allocatedBytes }
    return min(isFar ? size : stored, size > 512 ? size - 512 : 0)
  }
}

extension Disk {
  /// How many bytes of a range are stored in layer `index` and those below it. Each layer is asked only
  /// for what the one above it does not have, in one go: a chain costs about an extent for each change of
  /// layer, however many layers there are.
  ///
  /// - Returns: nil where the disk's budget of `Limits.countedExtents` is used up.
  fileprivate func countStored(
    _ range: Range<UInt64>, from index: Int, _ cursor: inout RegionCursor
  ) throws(DiskError) -> UInt64? {
    guard index < layers.count else { return 0 }
    let layer = layers[index]
    let end = min(range.upperBound, layer.size)
    var total: UInt64 = 0
    var place = range.lowerBound
    while place < end {
      guard countingBudget.subtract(1, ordering: .relaxed).newValue >= 0 else { return nil }
      let extent = try layer.extent(at: DiskOffset(place), limit: end - place)
      let length = min(max(1, extent.length), end - place)
      place += length
      switch extent.place {
      case .zero, .unreadable: break
      case .encoded: total += length
      case .stored(let storage, let at):
        total += try cursor.storedBytes(of: storage, at: at, length: length)
      case .below(let next):
        guard let last = next.adding(length) else { break }
        guard
          let below = try countStored(next.bytes..<last.bytes, from: index + 1, &cursor)
        else { return nil }
        total += below
      }
    }
    return total
  }
}

extension RegionCursor {
  /// How many of `length` bytes of a file are no hole.
  fileprivate mutating func storedBytes(
    of storage: any Storage, at offset: FileOffset, length: UInt64
  ) throws(DiskError) -> UInt64 {
    var total: UInt64 = 0
    var done: UInt64 = 0
    while done < length {
      // What a driver says can lie past the end of 64 bits; reads refuse it.
      guard let place = offset.adding(done) else { break }
      let region = try region(of: storage, at: place, limit: length - done)
      let count = min(max(1, region.length), length - done)
      if !region.isHole { total += count }
      done += count
    }
    return total
  }
}
