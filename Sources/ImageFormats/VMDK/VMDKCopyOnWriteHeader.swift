internal import DiskCore

/// The header of ESX Server sparse extents, `vmfsSparse`, and of VMware's disks before version 4
/// (Virtual Disk Format 5.0, "ESXi Host Sparse Extents", `COWDisk_Header`).
struct VMDKCopyOnWriteHeader: Sendable {
  /// Four sectors, most of them names that are no longer used. The numbers are in the first.
  static let structureBytes: UInt64 = 2048
  static let byteCount = 512
  static let entriesPerTable = 4096

  private let reader: ByteReader

  /// - Throws: `unsupported` for another version.
  init(_ reader: ByteReader) throws(DiskError) {
    let version = try reader.u32(at: 4)
    guard version == 1 else {
      throw DiskError(
        .unsupported, "an ESX Server sparse extent of version \(version); only 1 is known",
        path: reader.path, offset: reader.base + 4)
    }
    self.reader = reader
  }

  /// - Throws: `malformed` for numbers that cannot be.
  func geometry(hasParent: Bool) throws(DiskError) -> VMDKGeometry {
    let size = UInt64(try reader.u32(at: 12)) * VMDK.sectorBytes
    let grain = UInt64(try reader.u32(at: 16)) * VMDK.sectorBytes
    guard grain.nonzeroBitCount == 1, grain <= VMDKHostedHeader.largestGrain else {
      throw DiskError(
        .malformed,
        "a grain of \(grain / VMDK.sectorBytes) sectors; it must be a power of two, at most "
          + "\(VMDKHostedHeader.largestGrain / VMDK.sectorBytes)", path: reader.path, offset: 16)
    }
    let directory = UInt64(try reader.u32(at: 20)) * VMDK.sectorBytes
    let geometry = VMDKGeometry(
      size: size, grainBytes: grain, entriesPerTable: Self.entriesPerTable,
      directory: FileOffset(directory), structures: [0..<Self.structureBytes],
      hasParent: hasParent)
    let entries = try reader.u32(at: 24)
    guard geometry.tableCount <= entries else {
      throw DiskError(
        .malformed,
        "a disk of \(size) bytes needs \(geometry.tableCount) grain tables, but the grain directory "
          + "has \(entries) entries", path: reader.path, offset: 24)
    }
    return geometry
  }
}
