internal import DiskCore

/// A disk as a partition table counts it: in sectors of one size.
struct SectorGeometry {
  /// The sizes that disks have and that tables are read with, in bytes.
  static let validSizes: [UInt64] = [512, 1024, 2048, 4096]

  let window: Window
  /// In bytes; one of `validSizes`.
  let sectorSize: UInt64

  /// Whole sectors only; what is left over belongs to none.
  var sectorCount: UInt64 { window.size / sectorSize }

  /// Where usable bytes end. Linux counts every disk in units of 512 bytes, so that a last sector
  /// which is not whole can still be partly there.
  var end: UInt64 { window.size / 512 * 512 }

  /// `count` bytes of the disk from sector `sector` on.
  ///
  /// - Throws: `invalidRequest` where they are not inside the disk, otherwise what kept them from
  ///   being read.
  func reader(at sector: UInt64, count: Int) throws(DiskError) -> ByteReader {
    let (offset, overflow) = sector.multipliedReportingOverflow(by: sectorSize)
    guard !overflow else {
      throw DiskError(.invalidRequest, "sector \(sector) is past the end of the disk")
    }
    return try window.reader(at: DiskOffset(offset), count: count)
  }

  /// Whether `reader` would have the bytes without going far through a compressed stream.
  func isNear(_ sector: UInt64, count: Int) -> Bool {
    let (offset, overflow) = sector.multipliedReportingOverflow(by: sectorSize)
    return !overflow
      && window.way(to: DiskOffset(offset), count: UInt64(count)) <= Limits.shortWay
  }

  /// Where a partition of `sectors` sectors at `start` lies on this disk, as Linux places it
  /// (block/partitions/core.c): nil where it starts past the end, shortened where it only ends
  /// there.
  ///
  /// - Returns: in bytes; `size` is at least 512.
  func place(
    start: UInt64, sectors: UInt64
  ) -> (start: DiskOffset, size: UInt64, isShortened: Bool)? {
    let (first, overflow) = start.multipliedReportingOverflow(by: sectorSize)
    guard !overflow, first < end, sectors > 0 else { return nil }
    let (wanted, tooLong) = sectors.multipliedReportingOverflow(by: sectorSize)
    let room = end - first
    if tooLong || wanted > room { return (DiskOffset(first), room, true) }
    return (DiskOffset(first), wanted, false)
  }
}
