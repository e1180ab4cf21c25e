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

/// The BIOS parameter block, checked.
private struct FATBootSector {
  /// How much of a root directory is searched for a label: 4,096 entries, where FAT12 and FAT16
  /// have 512. Most tools write the label first.
  private static let searchedDirectory = 128 << 10

  private let sector: ByteReader
  private let is32: Bool
  /// In bytes.
  private let sectorSize: UInt64
  /// In bytes.
  private let clusterSize: UInt64
  /// In sectors: where the FAT starts, and where what follows the FATs starts.
  private let reserved: UInt64
  private let afterFATs: UInt64

  /// - Returns: nil where the first sector cannot be one of a FAT file system.
  init?(_ source: SignatureSource) throws(DiskError) {
    sector = try source.reader(at: 0, count: 512)
    // Volumes encrypted by BitLocker keep a FAT-like sector.
    guard !sector.matches("-FVE-FS-", at: 3) else { return nil }
    let texts: [(StaticString, Int)] = [
      ("MSWIN", 0x52), ("FAT32   ", 0x52), ("MSDOS", 0x36), ("FAT16   ", 0x36),
      ("FAT12   ", 0x36), ("FAT     ", 0x36),
    ]
    let isNamed = texts.contains { [sector] in sector.matches($0.0, at: $0.1) }
    // Without its name, the signature at least, and not one of OS/2's look-alikes.
    guard
      isNamed
        || sector.matches([0x55, 0xAA], at: 510) && !sector.matches("JFS     ", at: 0x36)
          && !sector.matches("HPFS    ", at: 0x36)
    else { return nil }

    let bytesPerSector = try sector.u16(at: 0x0B)
    let sectorsPerCluster = try sector.u8(at: 0x0D)
    let reservedSectors = try sector.u16(at: 0x0E)
    let fats = try sector.u8(at: 0x10)
    let media = try sector.u8(at: 0x15)
    guard (512...4096).contains(bytesPerSector), isPowerOfTwo(bytesPerSector),
      isPowerOfTwo(sectorsPerCluster), reservedSectors > 0, fats > 0,
      media == 0xF0 || media >= 0xF8
    else { return nil }

    let shortLength = try sector.u16(at: 0x16)
    is32 = shortLength == 0
    let fatLength = is32 ? UInt64(try sector.u32(at: 0x24)) : UInt64(shortLength)
    guard fatLength > 0 else { return nil }
    sectorSize = UInt64(bytesPerSector)
    clusterSize = sectorSize * UInt64(sectorsPerCluster)
    reserved = UInt64(reservedSectors)
    afterFATs = reserved + fatLength * UInt64(fats)

    // What is left for data must be there, and no more clusters than the FAT's entries can count.
    let shortCount = try sector.u16(at: 0x13)
    let count = shortCount == 0 ? UInt64(try sector.u32(at: 0x20)) : UInt64(shortCount)
    let rootSectors =
      (UInt64(try sector.u16(at: 0x11)) * 32 + sectorSize - 1) / sectorSize
    guard count > afterFATs + rootSectors else { return nil }
    let clusters = (count - afterFATs - rootSectors) / UInt64(sectorsPerCluster)
    guard clusters <= (is32 ? 0x0FFF_FFF6 : 0xFFF4) else { return nil }

    if is32, !isNamed {
      let place = UInt64(try sector.u16(at: 0x30)) * sectorSize
      guard try source.reader(at: place, count: 512).matches("RRaA", at: 0) else { return nil }
    }
  }

  /// Where the fields that FAT32 moved start.
  private var extended: Int { is32 ? 0x40 : 0x24 }

  /// Nil where the boot sector does not have one (its signature is neither 28 nor 29).
  func serialNumber() throws(DiskError) -> String? {
    let signature = try sector.u8(at: extended + 2)
    guard is32 || signature == 0x28 || signature == 0x29 else { return nil }
    return try sector.serialNumber(at: extended + 3)
  }

  /// The boot sector's copy of the label, which some tools forget to change.
  func copiedLabel() throws(DiskError) -> String? {
    guard try sector.u8(at: extended + 2) == 0x29,
      !sector.matches("NO NAME    ", at: extended + 7)
    else { return nil }
    return try sector.label(at: extended + 7, count: 11)
  }

  /// The volume entry of the root directory.
  func rootLabel(_ source: SignatureSource) throws(DiskError) -> String? {
    if !is32 {
      let count = min(Int(try sector.u16(at: 0x11)) * 32, Self.searchedDirectory)
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
      let link = try source.reader(at: reserved * sectorSize + cluster * 4, count: 4)
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
