internal import DiskCore

/// The 64 bytes at the start of an expanding Parallels image (QEMU's docs/interop/parallels.txt,
/// "Header").
struct ParallelsHeader: Sendable {
  enum Variant: Sendable {
    /// `WithoutFreeSpace`: sizes of 32 bits, table entries in sectors.
    case old
    /// `WithouFreSpacExt`: sizes of 64 bits, table entries in clusters.
    case extended
  }

  static let byteCount = 64
  /// The format's own default is 2,048 sectors; nothing writes clusters larger than this.
  static let largestCluster: UInt32 = 1 << 20
  /// `in_use` while a program has the image open for writing.
  private static let openMark: UInt32 = 0x746f_6e59

  let variant: Variant
  let geometry: (cylinders: UInt32, heads: UInt32)
  /// In sectors of 512 bytes, at least 1; not always a power of two.
  let clusterSectors: UInt32
  let tableEntries: UInt32
  /// The disk's size, in sectors of 512 bytes.
  let sectors: UInt64
  let isMarkedInUse: Bool
  let isMarkedEmpty: Bool

  static func variant(_ reader: ByteReader) -> Variant? {
    if reader.matches("WithoutFreeSpace", at: 0) { return .old }
    return reader.matches("WithouFreSpacExt", at: 0) ? .extended : nil
  }

  /// - Throws: `unsupported` for another version; `malformed` where the header contradicts itself.
  init(_ reader: ByteReader) throws(DiskError) {
    func refused(
      _ message: String, at place: Int, as kind: DiskError.Kind = .malformed
    ) -> DiskError {
      DiskError(kind, message, path: reader.path, offset: reader.base + UInt64(place))
    }
    guard let variant = Self.variant(reader) else {
      throw refused("no Parallels header here", at: 0)
    }
    self.variant = variant
    let version = try reader.u32(at: 16)
    guard version == 2 else {
      throw refused(
        "a Parallels image of version \(version); only 2 is specified", at: 16, as: .unsupported)
    }
    geometry = (try reader.u32(at: 24), try reader.u32(at: 20))
    clusterSectors = try reader.u32(at: 28)
    guard clusterSectors >= 1, clusterSectors <= Self.largestCluster else {
      throw refused(
        "a cluster size of \(clusterSectors) sectors; it must be from 1 to \(Self.largestCluster)",
        at: 28)
    }
    tableEntries = try reader.u32(at: 32)
    // "Only the lowest 4 bytes are used" in old images.
    sectors = variant == .old ? UInt64(try reader.u32(at: 36)) : try reader.u64(at: 36)
    guard sectors <= Limits.largestDisk / 512 else {
      throw refused("the header claims a disk of \(sectors) sectors", at: 36)
    }
    isMarkedInUse = try reader.u32(at: 44) == Self.openMark
    isMarkedEmpty = try reader.u32(at: 52) & 1 != 0
    guard neededEntries <= UInt64(tableEntries) else {
      throw refused(
        "a disk of \(sectors) sectors needs \(neededEntries) clusters, but the table has "
          + "\(tableEntries)", at: 32)
    }
  }

  /// How many clusters the disk has.
  var neededEntries: UInt64 {
    sectors / UInt64(clusterSectors) + (sectors % UInt64(clusterSectors) == 0 ? 0 : 1)
  }
}
