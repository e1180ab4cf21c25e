internal import DiskCore

/// A file of which only parts are stored (RRIP 1.12, 4.1.7; 1.10 has 32 bits for its size).
///
/// Its size is known from here. Where its parts are, stands in tables in its data whose form neither a
/// writer nor another reader is known to agree on: such a file is listed, and reads of it fail.
struct SparseFile {
  /// In bytes.
  let size: UInt64
  private let place: UInt64
  private let path: String?

  init(_ entry: SystemUseEntry) throws(DiskError) {
    let isLong = entry.length >= 21
    let first = UInt64(try entry.number(at: 4))
    let high = isLong ? first << 32 : 0
    let low = isLong ? UInt64(try entry.number(at: 12)) : first
    size = high | low
    place = entry.reader.base
    path = entry.reader.path
    guard size <= Limits.largestDisk else {
      throw DiskError(.malformed, "a sparse file of \(size) bytes", path: path, offset: place)
    }
  }

  /// Why its content cannot be given.
  var refusal: DiskError {
    DiskError(
      .unsupported, "a sparse file of Rock Ridge; their tables are not read", path: path,
      offset: place)
  }
}
