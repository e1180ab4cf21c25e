internal import DiskCore

/// Where the parts of a FAT volume are, in bytes from its start.
struct FATLayout: Sendable {
  enum Root: Sendable {
    /// Of FAT12 and FAT16: a region of its own before the clusters.
    case region(start: UInt64, count: UInt64)
    /// Of FAT32.
    case chain(from: UInt32)
  }

  let width: ClusterTable.Width
  let tableStart: UInt64
  /// In bytes.
  let tableLength: UInt64
  let root: Root
  let heap: ClusterHeap
  let notes: [String]

  /// - Returns: nil where the volume is not FAT.
  /// - Throws: `malformed` where it calls itself FAT and has an impossible boot sector.
  init?(_ volume: Volume) throws(DiskError) {
    guard volume.size >= UInt64(FATBootSector.byteCount) else { return nil }
    let boot = try FATBootSector(volume.reader(at: .start, count: FATBootSector.byteCount))
    if let problem = boot.problem {
      guard !boot.isNamed else {
        throw DiskError(
          .malformed, "the boot sector of this FAT file system has \(problem)",
          path: volume.storage.path, offset: 0)
      }
    } else if try Self.isBelieved(boot, in: volume) {
      try self.init(boot, in: volume)
      return
    }
    guard let old = FATLayout(withoutParameters: volume) else { return nil }
    self = old
  }

  /// Whether a boot sector is one of FAT: it says so, or, as on old floppies, it is signed or begins
  /// with a jump, and the FAT begins with the kind of the medium and a byte of ones.
  private static func isBelieved(
    _ boot: FATBootSector, in volume: Volume
  ) throws(DiskError) -> Bool {
    guard !boot.isNamed else { return true }
    let first = try boot.sector.u8(at: 0)
    guard boot.isSigned || [0xEB, 0xE9, 0x69].contains(first) else { return false }
    let start = DiskOffset(boot.reservedSectors * boot.sectorSize)
    guard let table = try? volume.reader(at: start, count: 2) else { return false }
    return table.bytes == [boot.media, 0xFF]
  }

  private init(_ boot: FATBootSector, in volume: Volume) throws(DiskError) {
    let fatLength = boot.sectorsPerFAT * boot.sectorSize
    var start = boot.reservedSectors * boot.sectorSize
    // Bit 7: only one of the FATs is kept, the one in bits 0 to 3.
    let flags = boot.is32 ? try boot.sector.u16(at: 0x28) : 0
    if flags & 0x80 != 0, UInt64(flags & 0xF) < boot.fatCount {
      start += UInt64(flags & 0xF) * fatLength
    }
    var notes: [String] = []
    let claimed = boot.totalSectors * boot.sectorSize
    if claimed > volume.size {
      notes.append(
        "the FAT file system should have \(claimed) bytes, of which \(volume.size) are here")
    }
    guard start < volume.size else {
      throw DiskError(
        .truncated, "the volume ends before its FAT begins", path: volume.storage.path,
        offset: start)
    }
    width = boot.is32 ? .fat32 : boot.clusters < 4085 ? .fat12 : .fat16
    tableStart = start
    tableLength = min(fatLength, volume.size - start)
    let clusters = ClusterTable.clusters(width, in: tableLength)
    if UInt64(clusters) < boot.clusters {
      notes.append("the FAT has entries for \(clusters) of \(boot.clusters) clusters")
    }
    let dataStart = (boot.afterFATs + boot.rootSectors) * boot.sectorSize
    heap = ClusterHeap(
      start: dataStart, clusterSize: boot.clusterSize,
      count: min(UInt32(clamping: boot.clusters), clusters))
    root =
      boot.is32
      ? .chain(from: try boot.sector.u32(at: 0x2C) & 0x0FFF_FFFF)
      : .region(start: boot.afterFATs * boot.sectorSize, count: boot.rootEntries * 32)
    self.notes = notes
  }

  /// Floppies of DOS 1.x have no parameters in their boot sector: the size and the FAT's first byte tell
  /// which of four they are (Linux, `Documentation/filesystems/vfat.rst`, `dos1xfloppy`).
  private init?(withoutParameters volume: Volume) {
    typealias Floppy = (
      sectors: UInt64, media: UInt8, perCluster: UInt64, entries: UInt64, perFAT: UInt64
    )
    let floppies: [Floppy] = [
      (320, 0xFE, 1, 64, 1), (360, 0xFC, 1, 64, 2), (640, 0xFF, 2, 112, 1), (720, 0xFD, 2, 112, 2),
    ]
    guard let floppy = floppies.first(where: { $0.sectors * 512 == volume.size }),
      let table = try? volume.reader(at: DiskOffset(512), count: 3),
      table.bytes == [floppy.media, 0xFF, 0xFF]
    else { return nil }
    width = .fat12
    tableStart = 512
    tableLength = floppy.perFAT * 512
    let rootStart = 512 + 2 * tableLength
    root = .region(start: rootStart, count: floppy.entries * 32)
    let dataStart = rootStart + floppy.entries * 32
    let clusterSize = floppy.perCluster * 512
    heap = ClusterHeap(
      start: dataStart, clusterSize: clusterSize,
      count: UInt32((volume.size - dataStart) / clusterSize))
    notes = ["a floppy of DOS 1.x, told by its size and the kind of its medium"]
  }
}
