public import DiskCore

extension FileSystemSignature {
  /// What the window holds, by the superblock that it finds: nil for nothing known.
  ///
  /// Reads 68 KiB and a few sectors more, checks what the format allows to be checked and trusts
  /// nothing. Checksums of superblocks are not verified: a damaged file system is still that file
  /// system, and whoever looks at it wants to know which. What cannot be read is not found.
  ///
  /// - Parameter goingFar: whether to decode much of a compressed stream for it, as for a label that is far
  ///   inside. Otherwise what lies there counts as not read.
  public static func find(in window: Window, goingFar: Bool = true) -> FileSystemSignature? {
    let source = SignatureSource(window, goingFar: goingFar)
    for parser in parsers {
      if let found = try? parser(source) { return found }
    }
    return nil
  }

  /// Everything that the window holds, in the order of `find(in:)`, which gives the first.
  static func all(in window: Window) -> [FileSystemSignature] {
    let source = SignatureSource(window, goingFar: true)
    return parsers.compactMap { (try? $0(source)) ?? nil }
  }

  /// Errors are dropped, so their type does not matter here (and Swift 6.3.1 crashes on an array of
  /// functions with typed throws).
  private typealias Parser = @Sendable (SignatureSource) throws -> FileSystemSignature?

  /// In the order in which `blkid` asks, because some of them can stand in one window: what
  /// contains a file system before file systems, UDF before the ISO 9660 that it bridges.
  private static let parsers: [Parser] = [
    lvm2,
    luks,
    fat,
    swap,
    xfs,
    ext,
    udf,
    iso9660,
    hfsPlus,
    hfs,
    ntfs,
    squashfs,
    btrfs,
    exfat,
    apfs,
    erofs,
  ]
}
