internal import DiskCore

extension FileSystemSignature {
  /// SquashFS: the superblock is the first 96 bytes (Linux, Documentation/filesystems/squashfs).
  /// It has neither label nor UUID. Versions before 4 were written in either byte order.
  static func squashfs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let superblock = try source.reader(at: 0, count: 96)
    let isBig = superblock.matches("sqsh", at: 0)
    guard isBig || superblock.matches("hsqs", at: 0) else { return nil }
    let version = try superblock.u16(at: 28, isBig ? .big : .little)
    if (1...3).contains(version) { return FileSystemSignature(type: "squashfs3") }
    let logarithm = try superblock.u16(at: 22)
    guard version == 4, !isBig, (12...20).contains(logarithm),
      try superblock.u32(at: 12) == 1 << UInt32(logarithm)
    else { return nil }
    return FileSystemSignature(type: "squashfs")
  }

  /// EROFS: the superblock is at 1024 (Linux, fs/erofs/erofs_fs.h).
  static func erofs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let superblock = try source.reader(at: 1024, count: 128)
    guard try superblock.u32(at: 0) == 0xE0F5_E1E2,
      (9...16).contains(try superblock.u8(at: 12))  // log2 of the block size
    else { return nil }
    return FileSystemSignature(
      type: "erofs", label: try superblock.label(at: 64, count: 16),
      uuid: try superblock.uuidIfSet(at: 48))
  }
}
