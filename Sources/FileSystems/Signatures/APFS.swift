internal import DiskCore

extension FileSystemSignature {
  /// An APFS container: its superblock is the first block (Apple File System Reference,
  /// `nx_superblock_t`). Volumes have labels, containers have none.
  static func apfs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let superblock = try source.reader(at: 0, count: 88)
    guard superblock.matches("NXSB", at: 32),
      try superblock.u16(at: 24) == 1, try superblock.u16(at: 28) == 0,  // object type, subtype
      try superblock.u32(at: 36) == 4096  // block size
    else { return nil }
    return FileSystemSignature(type: "apfs", uuid: try superblock.uuidIfSet(at: 72))
  }
}
