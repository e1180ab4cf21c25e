internal import DiskCore

extension FileSystemSignature {
  /// btrfs: the superblock at 64 KiB, which holds its own place (btrfs documentation, "On-disk
  /// Format", superblock).
  static func btrfs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let superblock = try source.reader(at: 0x10000, count: 4096)
    guard superblock.matches("_BHRfS_M", at: 0x40), try superblock.u64(at: 0x30) == 0x10000,
      isPowerOfTwo(try superblock.u32(at: 0x90))
    else { return nil }
    return FileSystemSignature(
      type: "btrfs", label: try superblock.label(at: 0x12B, count: 256),
      uuid: try superblock.uuidIfSet(at: 0x20))
  }
}
