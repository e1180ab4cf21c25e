internal import DiskCore

/// The BIOS parameter block of a FAT volume, checked as Linux checks it (Microsoft, "FAT: General
/// Overview of On-Disk Format", pages 9 to 12).
struct FATBootSector {
  /// In bytes.
  static let byteCount = 512

  let sector: ByteReader
  /// In bytes: a power of two from 512 to 4,096.
  let sectorSize: UInt64
  /// A power of two, at most 128.
  let sectorsPerCluster: UInt64
  /// Before the first FAT; at least 1.
  let reservedSectors: UInt64
  /// At least 1.
  let fatCount: UInt64
  /// Of FAT12 and FAT16; 0 in FAT32.
  let rootEntries: UInt64
  let totalSectors: UInt64
  /// What kind of medium: 0xF0, or 0xF8 and above.
  let media: UInt8
  /// At least 1.
  let sectorsPerFAT: UInt64
  /// As every system decides it; the specification's own rule, the count of clusters, would take small
  /// volumes for FAT16 that have the fields of FAT32.
  let is32: Bool

  /// Only read, not judged: nothing but `problem` may be asked of one that has a problem.
  init(_ sector: ByteReader) throws(DiskError) {
    self.sector = sector
    sectorSize = UInt64(try sector.u16(at: 0x0B))
    sectorsPerCluster = UInt64(try sector.u8(at: 0x0D))
    reservedSectors = UInt64(try sector.u16(at: 0x0E))
    fatCount = UInt64(try sector.u8(at: 0x10))
    rootEntries = UInt64(try sector.u16(at: 0x11))
    media = try sector.u8(at: 0x15)
    let shortLength = try sector.u16(at: 0x16)
    is32 = shortLength == 0
    sectorsPerFAT = is32 ? UInt64(try sector.u32(at: 0x24)) : UInt64(shortLength)
    let shortCount = try sector.u16(at: 0x13)
    totalSectors = shortCount == 0 ? UInt64(try sector.u32(at: 0x20)) : UInt64(shortCount)
  }

  /// Whether it names FAT at one of the places where its kind has the name. Volumes encrypted by
  /// BitLocker keep a FAT-like sector.
  var isNamed: Bool {
    let texts: [(StaticString, Int)] = [
      ("MSWIN", 0x52), ("FAT32   ", 0x52), ("MSDOS", 0x36), ("FAT16   ", 0x36),
      ("FAT12   ", 0x36), ("FAT     ", 0x36),
    ]
    return !isEncrypted && texts.contains { sector.matches($0.0, at: $0.1) }
  }

  /// The signature at the sector's end, and not one of OS/2's look-alikes.
  var isSigned: Bool {
    !isEncrypted && sector.matches([0x55, 0xAA], at: 510) && !sector.matches("JFS     ", at: 0x36)
      && !sector.matches("HPFS    ", at: 0x36)
  }

  /// Whether it begins as a program does: a jump of the 8086, or of the 68000 in the Atari ST.
  var jumps: Bool {
    guard let first = try? sector.u8(at: 0) else { return false }
    return [0xEB, 0xE9, 0x69, 0x60].contains(first)
  }

  /// Of FAT32: which FAT is the only one that is kept; nil where all are (`BPB_ExtFlags`).
  var activeFAT: UInt64? {
    get throws(DiskError) {
      let flags = is32 ? try sector.u16(at: 0x28) : 0
      return flags & 0x80 == 0 ? nil : UInt64(flags & 0xF)
    }
  }

  var width: ClusterTable.Width { is32 ? .fat32 : clusters < 4085 ? .fat12 : .fat16 }

  private var isEncrypted: Bool { sector.matches("-FVE-FS-", at: 3) }

  /// Where the FATs end, in sectors.
  var afterFATs: UInt64 { reservedSectors + sectorsPerFAT * fatCount }

  /// Of FAT12 and FAT16: the root folder between the FATs and the clusters.
  var rootSectors: UInt64 { (rootEntries * 32 + sectorSize - 1) / sectorSize }

  /// In bytes.
  var clusterSize: UInt64 { sectorSize * sectorsPerCluster }

  var clusters: UInt64 { (totalSectors - afterFATs - rootSectors) / sectorsPerCluster }

  /// What makes it no boot sector of FAT; nil where nothing does.
  var problem: String? {
    guard (512...4096).contains(sectorSize), isPowerOfTwo(sectorSize) else {
      return "sectors of \(sectorSize) bytes"
    }
    guard isPowerOfTwo(sectorsPerCluster) else {
      return "clusters of \(sectorsPerCluster) sectors"
    }
    guard reservedSectors > 0 else { return "no sector before the FAT" }
    guard fatCount > 0 else { return "no FAT" }
    guard media == 0xF0 || media >= 0xF8 else { return "a medium of kind \(media)" }
    guard sectorsPerFAT > 0 else { return "a FAT of no sectors" }
    // What is left for data must be there, and no more clusters than the FAT's entries can count.
    guard totalSectors > afterFATs + rootSectors else {
      return "\(totalSectors) sectors, which its FATs fill"
    }
    guard clusters <= (is32 ? 0x0FFF_FFF6 : 0xFFF4) else { return "\(clusters) clusters" }
    return nil
  }
}
