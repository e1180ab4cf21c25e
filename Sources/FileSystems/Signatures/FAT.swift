internal import DiskCore

extension FileSystemSignature {
  /// FAT12, FAT16 and FAT32, all called `vfat` (Microsoft, "FAT: General Overview of On-Disk
  /// Format", and ECMA-107).
  ///
  /// The label is the volume entry of the root directory, which is the one that systems show and
  /// change; else the boot sector's copy.
  static func fat(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    guard let boot = try FATBootSector(source) else { return nil }
    var label = try? boot.rootLabel(source)
    if label == nil { label = try boot.copiedLabel() }
    return FileSystemSignature(type: "vfat", label: label, uuid: try boot.serialNumber())
  }
}

extension FATBootSector {
  /// How much of a root directory is searched for a label: 4,096 entries, where FAT12 and FAT16
  /// have 512. Most tools write the label first.
  private static let searchedDirectory = 128 << 10

  /// - Returns: nil where the first sector is not known as one of a FAT file system.
  fileprivate init?(_ source: SignatureSource) throws(DiskError) {
    try self.init(source.reader(at: 0, count: Self.byteCount))
    guard isNamed || isSigned, problem == nil else { return nil }
    if is32, !isNamed {
      let place = UInt64(try sector.u16(at: 0x30)) * sectorSize
      guard try source.reader(at: place, count: 512).matches("RRaA", at: 0) else { return nil }
    }
  }

  /// Where the fields that FAT32 moved start.
  fileprivate var extended: Int { is32 ? 0x40 : 0x24 }

  /// Nil where the boot sector does not have one (its signature is neither 28 nor 29).
  fileprivate func serialNumber() throws(DiskError) -> String? {
    let signature = try sector.u8(at: extended + 2)
    guard is32 || signature == 0x28 || signature == 0x29 else { return nil }
    return try sector.serialNumber(at: extended + 3)
  }

  /// The boot sector's copy of the label, which some tools forget to change.
  fileprivate func copiedLabel() throws(DiskError) -> String? {
    guard try sector.u8(at: extended + 2) == 0x29,
      !sector.matches("NO NAME    ", at: extended + 7)
    else { return nil }
    return try sector.label(at: extended + 7, count: 11)
  }

  /// The volume entry of the root directory.
  fileprivate func rootLabel(_ source: SignatureSource) throws(DiskError) -> String? {
    if !is32 {
      let count = min(Int(rootEntries) * 32, Self.searchedDirectory)
      return try label(in: source.reader(at: afterFATs * sectorSize, count: count)).label
    }
    var cluster = UInt64(try sector.u32(at: 0x2C))
    var searched = 0
    while cluster >= 2, cluster < 0x0FFF_FFF7, searched < Self.searchedDirectory {
      let offset = afterFATs * sectorSize + (cluster - 2) * clusterSize
      let count = min(Int(clusterSize), Self.searchedDirectory - searched)
      let found = try label(in: source.reader(at: offset, count: count))
      if found.isLast { return found.label }
      searched += count
      let link = try source.reader(at: reservedSectors * sectorSize + cluster * 4, count: 4)
      cluster = UInt64(try link.u32(at: 0) & 0x0FFF_FFFF)
    }
    return nil
  }

  /// The label in a piece of a directory, and whether the search ends there.
  private func label(
    in directory: ByteReader
  ) throws(DiskError) -> (label: String?, isLast: Bool) {
    for place in stride(from: 0, to: directory.count - 31, by: 32) {
      let first = try directory.u8(at: place)
      if first == 0 { return (nil, true) }
      let attributes = try directory.u8(at: place + 11)
      let cluster = (try directory.u16(at: place + 20), try directory.u16(at: place + 26))
      // Deleted, a file, or part of a long name.
      if first == 0xE5 || cluster != (0, 0) || attributes & 0x3F == 0x0F { continue }
      // A volume label and not a folder.
      guard attributes & 0x18 == 0x08 else { continue }
      var name = Array(try directory.slice(at: place, count: 11))
      if first == 0x05 { name[0] = 0xE5 }
      return (try ByteReader(name).label(at: 0, count: 11), true)
    }
    return (nil, false)
  }
}
