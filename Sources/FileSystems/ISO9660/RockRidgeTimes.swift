internal import DiskCore

/// Rock Ridge's time stamps (RRIP 1.12, 4.1.6).
struct RockRidgeTimes {
  private(set) var created: FileTime?
  private(set) var modified: FileTime?
  private(set) var accessed: FileTime?
  private(set) var changed: FileTime?

  private static let longForm: UInt8 = 0x80

  /// Those that the flags name, in the order of the flags; backup, expiration and effective time are not
  /// kept.
  mutating func take(_ entry: SystemUseEntry) throws(DiskError) {
    let flags = try entry.reader.u8(at: 4)
    let isLong = flags & Self.longForm != 0
    var place = 5
    for bit in 0..<4 where flags & 1 << bit != 0 {
      let time =
        isLong
        ? try ISODate.long(entry.reader, at: place) : try ISODate.short(entry.reader, at: place)
      switch bit {
      case 0: created = time
      case 1: modified = time
      case 2: accessed = time
      default: changed = time
      }
      place += isLong ? ISODate.longLength : ISODate.shortLength
    }
  }
}
