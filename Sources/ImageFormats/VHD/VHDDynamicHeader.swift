internal import DiskCore

/// The 1,024-byte header of dynamic and differencing disks (VHD specification 1.0, "Dynamic Disk
/// Header Format").
struct VHDDynamicHeader: Sendable {
  static let byteCount = 1024

  /// The specification's default is 2 MiB; nothing writes blocks larger than this.
  static let largestBlock: UInt32 = 1 << 28

  let tableOffset: FileOffset
  let maxTableEntries: UInt32
  /// In bytes: a power of two, at least one sector.
  let blockSize: UInt32
  /// Of a differencing disk's parent: the unique identifier in its footer.
  let parentUUID: String
  /// In seconds since 2000-01-01T00:00:00Z; 0 where the writer left it out.
  let parentTimestamp: UInt32
  let parentName: String
  let locators: [VHDParentLocator]
  let hasValidChecksum: Bool

  /// - Throws: `malformed` for a header that contradicts the specification.
  init(_ reader: ByteReader) throws(DiskError) {
    guard reader.matches("cxsparse", at: 0) else {
      throw DiskError(
        .malformed, "no dynamic disk header where the footer says it is", path: reader.path,
        offset: reader.base)
    }
    tableOffset = FileOffset(try reader.u64(at: 16, .big))
    maxTableEntries = try reader.u32(at: 28, .big)
    blockSize = try reader.u32(at: 32, .big)
    guard blockSize >= 512, blockSize <= Self.largestBlock, blockSize.nonzeroBitCount == 1 else {
      throw DiskError(
        .malformed,
        "a block size of \(blockSize) bytes; it must be a power of two from 512 to "
          + "\(Self.largestBlock)", path: reader.path, offset: reader.base + 32)
    }
    parentUUID = try reader.uuid(at: 40)
    parentTimestamp = try reader.u32(at: 56, .big)
    parentName = try reader.utf16(at: 64, units: 256, .big)
    var locators: [VHDParentLocator] = []
    for index in 0..<VHDParentLocator.count {
      locators.append(
        try VHDParentLocator(reader, at: 576 + VHDParentLocator.byteCount * index))
    }
    self.locators = locators
    hasValidChecksum = try reader.u32(at: 36, .big) == VHDChecksum.of(reader.bytes, fieldAt: 36)
  }
}
