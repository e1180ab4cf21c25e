extension Disk {
  /// How many bytes must be decoded, and thrown away, before these `count` ones can be read; 0 where they can be
  /// read at once. An estimate that reads nothing.
  ///
  /// - Parameter count: at least 1; the range lies within the disk.
  func way(to offset: DiskOffset, count: UInt64) -> UInt64 {
    guard let longest = longestWay else { return 0 }
    // Where the tables are in the stream too, to look where the bytes are can be as long a way.
    guard layers.allSatisfy({ $0.tableBytes == 0 }) else { return longest() }
    var way: UInt64 = 0
    var place = offset
    let end = offset.bytes + count
    while place.bytes < end {
      guard let extent = try? resolve(place, limit: end - place.bytes).extent else { break }
      let length = max(1, min(extent.length, end - place.bytes))
      if case .stored(let storage, let at) = extent.place {
        way = max(way, storage.way(to: at, count: length))
      }
      place = place + length
    }
    return way
  }

  /// Whether there can be long ways.
  public var canBeFar: Bool { longestWay != nil }

  /// Whether a walk over the layers' tables can mean to decode a lot.
  var hasFarTables: Bool {
    guard let longest = longestWay, layers.contains(where: { $0.tableBytes > 0 }) else {
      return false
    }
    return longest() > Limits.shortWay
  }
}
