internal import DiskCore

extension FileSystemSignature {
  /// ext2, ext3 and ext4 share a superblock at 1024; which it is follows from the features that it
  /// uses (Linux, Documentation/filesystems/ext4, "Super Block").
  static func ext(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let superblock = try source.reader(at: 1024, count: 1024)
    guard try superblock.u16(at: 0x38) == 0xEF53,
      try superblock.u32(at: 0x00) > 0,  // inodes
      try superblock.u32(at: 0x04) > 0,  // blocks
      try superblock.u32(at: 0x18) <= 6  // block size 2^(10 + n), at most 64 KiB
    else { return nil }
    let features = ExtFeatures(
      compatible: try superblock.u32(at: 0x5C), incompatible: try superblock.u32(at: 0x60),
      readOnly: try superblock.u32(at: 0x64))
    let isTest = try superblock.u32(at: 0x160) & 0x4 != 0
    guard let type = features.fileSystem(isTest: isTest) else { return nil }
    return FileSystemSignature(
      type: type, label: try superblock.label(at: 0x78, count: 16),
      uuid: try superblock.uuidIfSet(at: 0x68))
  }
}

private struct ExtFeatures {
  let compatible: UInt32
  let incompatible: UInt32
  let readOnly: UInt32

  /// Nil for the device of an external journal, and for what no version allows.
  func fileSystem(isTest: Bool) -> String? {
    guard incompatible & Self.journalDevice == 0 else { return nil }
    // sparse_super, large_file, btree_dir: the only ones that ext2 and ext3 know.
    let isNewReadOnly = readOnly & ~0x7 != 0
    // filetype and meta_bg; recover only with ext3's journal.
    let isNewForExt2 = isNewReadOnly || incompatible & ~0x12 != 0
    let isNewForExt3 = isNewReadOnly || incompatible & ~0x16 != 0
    if isTest { return "ext4dev" }
    if isNewForExt3 { return "ext4" }
    if compatible & Self.hasJournal != 0 { return "ext3" }
    return isNewForExt2 ? nil : "ext2"
  }

  private static let hasJournal: UInt32 = 0x4
  private static let journalDevice: UInt32 = 0x8
}
