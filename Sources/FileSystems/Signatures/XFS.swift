internal import DiskCore

extension FileSystemSignature {
  /// XFS: the superblock is the first sector, big-endian (XFS Algorithms & Data Structures,
  /// "Superblocks").
  static func xfs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let superblock = try source.reader(at: 0, count: 264)
    guard superblock.matches("XFSB", at: 0) else { return nil }
    // Each size is stored twice, as it is and as its logarithm.
    let sizes: [(size: UInt32, log: UInt8, logs: ClosedRange<UInt8>)] = [
      (try superblock.u32(at: 4, .big), try superblock.u8(at: 120), 9...16),
      (UInt32(try superblock.u16(at: 102, .big)), try superblock.u8(at: 121), 9...15),
      (UInt32(try superblock.u16(at: 104, .big)), try superblock.u8(at: 122), 8...11),
    ]
    let dataBlocks = try superblock.u64(at: 8, .big)
    let groups = try superblock.u32(at: 88, .big)
    guard sizes.allSatisfy({ $0.logs.contains($0.log) && $0.size == 1 << UInt32($0.log) }),
      dataBlocks > 0, groups > 0,
      dataBlocks <= UInt64(groups) * UInt64(try superblock.u32(at: 84, .big))
    else { return nil }
    return FileSystemSignature(
      type: "xfs", label: try superblock.label(at: 108, count: 12),
      uuid: try superblock.uuidIfSet(at: 32))
  }
}
