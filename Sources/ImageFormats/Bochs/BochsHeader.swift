internal import DiskCore

/// The 512-byte header of a redolog (Bochs's iodev/hdimage/hdimage.h, `standard_header_t` and
/// `redolog_header_t`; the development manual's "harddisk redologs").
struct BochsHeader: Sendable {
  enum Subtype: String, Sendable {
    case growing = "Growing"
    case undoable = "Undoable"
    case volatile = "Volatile"
  }

  static let byteCount = 512
  static let magic: StaticString = "Bochs Virtual HD Image\0"
  /// Bochs doubles it from 4 KiB and needs 8 MiB for 8 TiB.
  static let largestExtent: UInt32 = 1 << 28
  static let largestBitmap: UInt32 = 1 << 20

  let subtype: Subtype
  let catalogEntries: UInt32
  /// In bytes: a bit for each sector of an extent, or more.
  let bitmapSize: UInt32
  /// In bytes: a power of two, at least one sector.
  let extentSize: UInt32
  let diskSize: UInt64

  /// - Throws: `unsupported` for other types and versions; `malformed` where the header contradicts
  ///   itself.
  init(_ reader: ByteReader) throws(DiskError) {
    func refused(
      _ message: String, at place: Int, as kind: DiskError.Kind = .malformed
    ) -> DiskError {
      DiskError(kind, message, path: reader.path, offset: reader.base + UInt64(place))
    }
    guard reader.matches(Self.magic, at: 0) else { throw refused("no Bochs header here", at: 0) }
    let type = try reader.text(at: 32, count: 16)
    let subtypeName = try reader.text(at: 48, count: 16)
    guard type == "Redolog", let subtype = Subtype(rawValue: subtypeName) else {
      throw refused(
        "a Bochs image of type '\(printable(type))', '\(printable(subtypeName))'; only redologs are "
          + "read: Growing, Undoable and Volatile", at: 32, as: .unsupported)
    }
    self.subtype = subtype
    let version = try reader.u32(at: 64)
    guard version == 0x10000 || version == 0x20000 else {
      throw refused(
        "a Bochs image of version \(version >> 16).\(version & 0xffff); only 1.0 and 2.0 are known",
        at: 64, as: .unsupported)
    }
    let headerSize = try reader.u32(at: 68)
    guard headerSize == UInt32(Self.byteCount) else {
      throw refused("a header of \(headerSize) bytes; it must have \(Self.byteCount)", at: 68)
    }
    catalogEntries = try reader.u32(at: 72)
    bitmapSize = try reader.u32(at: 76)
    extentSize = try reader.u32(at: 80)
    guard extentSize >= 512, extentSize <= Self.largestExtent, extentSize.nonzeroBitCount == 1
    else {
      throw refused(
        "an extent size of \(extentSize) bytes; it must be a power of two from 512 to "
          + "\(Self.largestExtent)", at: 80)
    }
    guard UInt64(bitmapSize) * 8 >= UInt64(extentSize / 512), bitmapSize <= Self.largestBitmap
    else {
      throw refused(
        "a bitmap of \(bitmapSize) bytes for extents of \(extentSize / 512) sectors", at: 76)
    }
    // Version 2 moved it, for alignment.
    let sizeOffset = version == 0x10000 ? 84 : 88
    diskSize = try reader.u64(at: sizeOffset)
    guard diskSize <= Limits.largestDisk else {
      throw refused("the header claims a disk of \(diskSize) bytes", at: sizeOffset)
    }
    guard neededExtents <= UInt64(catalogEntries) else {
      throw refused(
        "a disk of \(diskSize) bytes needs \(neededExtents) extents, but the catalog has "
          + "\(catalogEntries)", at: 72)
    }
  }

  /// How many extents the disk has.
  var neededExtents: UInt64 {
    diskSize / UInt64(extentSize) + (diskSize % UInt64(extentSize) == 0 ? 0 : 1)
  }
}
