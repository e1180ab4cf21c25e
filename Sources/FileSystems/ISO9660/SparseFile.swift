internal import DiskCore

/// What a directory record says of a file of which only parts are stored (RRIP 1.12, 4.1.7; 1.10 has 32
/// bits for its size and no depth).
struct SparseFile {
  /// Of its tables. A table of depth 1 has the places of 256 bytes each, one of depth 7 would do for 2⁶⁴.
  static let depths = 1...7
  /// Tables that reach as far as RRIP 1.10's 32 bits.
  private static let earlierDepth = 3

  /// In bytes.
  let size: UInt64
  /// Of the first table.
  let depth: Int
  /// In the volume.
  let place: UInt64

  init(_ entry: SystemUseEntry) throws(DiskError) {
    let first = UInt64(try entry.number(at: 4))
    if entry.length >= 21 {
      size = first << 32 | UInt64(try entry.number(at: 12))
      depth = Int(try entry.reader.u8(at: 20))
    } else {
      (size, depth) = (first, Self.earlierDepth)
    }
    place = entry.reader.base
    guard size <= Limits.largestDisk else {
      throw DiskError(
        .malformed, "a sparse file of \(size) bytes", path: entry.reader.path, offset: place)
    }
  }
}
