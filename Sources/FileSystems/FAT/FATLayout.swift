internal import DiskCore

/// Where the parts of a FAT volume are, in bytes from its start.
struct FATLayout: Sendable {
  enum Root: Sendable {
    /// Of FAT12 and FAT16: a region of its own before the clusters.
    case region(start: UInt64, count: UInt64)
    /// Of FAT32.
    case chain(from: UInt32)
  }

  /// In sectors: where FAT32 keeps a second boot sector (`BPB_BkBootSec`); no other place is allowed.
  private static let backup: UInt64 = 6

  let width: ClusterTable.Width
  let tables: ClusterTablePlace
  let root: Root
  let heap: ClusterHeap
  let notes: [String]

  /// - Returns: nil where the volume is not FAT.
  /// - Throws: `malformed` where it calls itself FAT and has an impossible boot sector; what reading that
  ///   throws.
  init?(_ volume: Volume) throws(DiskError) {
    guard volume.size >= UInt64(FATBootSector.byteCount) else { return nil }
    let first: ByteReader
    do throws(DiskError) {
      first = try volume.reader(at: .start, count: FATBootSector.byteCount)
    } catch {
      guard let boot = Self.backup(in: volume) else { throw error }
      try self.init(boot, in: volume, ["the boot sector cannot be read; its backup is used"])
      return
    }
    let boot = try FATBootSector(first)
    if let problem = boot.problem {
      guard !boot.isNamed else {
        throw DiskError(
          .malformed, "the boot sector of this FAT file system has \(problem)",
          path: volume.storage.path, offset: 0)
      }
    } else if try Self.isBelieved(boot, in: volume) {
      try self.init(boot, in: volume, [])
      return
    }
    if let old = FATLayout(withoutParameters: volume) {
      self = old
      return
    }
    // Under anything else it is left of a file system that was there once.
    guard first.bytes.allSatisfy({ $0 == 0 }), let boot = Self.backup(in: volume) else {
      return nil
    }
    try self.init(boot, in: volume, ["the boot sector is empty; its backup is used"])
  }

  private static func backup(in volume: Volume) -> FATBootSector? {
    for size in [512, 1024, 2048, 4096] as [UInt64] {
      guard
        let reader = try? volume.reader(
          at: DiskOffset(backup * size), count: FATBootSector.byteCount),
        let boot = try? FATBootSector(reader), boot.is32, boot.isNamed, boot.isSigned,
        boot.problem == nil, boot.sectorSize == size,
        let place = try? reader.u16(at: 0x32), UInt64(place) == backup
      else { continue }
      return boot
    }
    return nil
  }

  /// Whether a boot sector is one of FAT: it says so, or, as on old floppies, it is signed, begins with a
  /// jump or has the volume's very size, and a FAT begins with the kind of the medium and ones.
  private static func isBelieved(
    _ boot: FATBootSector, in volume: Volume
  ) throws(DiskError) -> Bool {
    guard !boot.isNamed else { return true }
    let isWhole = boot.totalSectors * boot.sectorSize == volume.size
    guard boot.isSigned || boot.jumps || isWhole else { return false }
    // What the Atari ST formats says 0xF7 whatever the boot sector says.
    let kinds = isWhole ? [boot.media, 0xF7] : [boot.media]
    let start = boot.reservedSectors * boot.sectorSize
    let length = boot.sectorsPerFAT * boot.sectorSize
    for copy in 0..<min(2, boot.fatCount) {
      for kind in kinds
      where FATCopies.begins(at: start + copy * length, kind, boot.width, in: volume) == true {
        return true
      }
    }
    return false
  }

  private init(
    _ boot: FATBootSector, in volume: Volume, _ said: [String]
  ) throws(DiskError) {
    var notes = said
    let claimed = boot.totalSectors * boot.sectorSize
    if claimed > volume.size {
      notes.append(
        "the FAT file system should have \(claimed) bytes, of which \(volume.size) are here")
    }
    width = boot.width
    let copies = try FATCopies(of: boot, width, in: volume)
    tables = copies.place
    if let note = copies.note { notes.append(note) }
    let clusters = ClusterTable.clusters(width, in: tables.byteCount)
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

  /// Floppies that were formatted before DOS kept parameters in the boot sector: the size and the FAT's first
  /// byte tell which of them they are. 160 to 360 KB are of DOS 1.x (Linux,
  /// `Documentation/filesystems/vfat.rst`, `dos1xfloppy`), the others have what DOS gives to their size.
  private init?(withoutParameters volume: Volume) {
    typealias Floppy = (
      sectors: UInt64, media: UInt8, perCluster: UInt64, entries: UInt64, perFAT: UInt64
    )
    let floppies: [Floppy] = [
      (320, 0xFE, 1, 64, 1), (360, 0xFC, 1, 64, 2), (640, 0xFF, 2, 112, 1), (720, 0xFD, 2, 112, 2),
      (1440, 0xF9, 2, 112, 3), (2400, 0xF9, 1, 224, 7), (2880, 0xF0, 1, 224, 9),
    ]
    guard let floppy = floppies.first(where: { $0.sectors * 512 == volume.size }) else {
      return nil
    }
    let length = floppy.perFAT * 512
    let starts = [512, 512 + length].filter {
      (try? volume.reader(at: DiskOffset($0), count: 3).bytes) == [floppy.media, 0xFF, 0xFF]
    }
    // One of them can be damaged.
    guard !starts.isEmpty else { return nil }
    width = .fat12
    tables = ClusterTablePlace(
      starts: starts + [512, 512 + length].filter { !starts.contains($0) }, byteCount: length)
    let rootStart = 512 + 2 * length
    root = .region(start: rootStart, count: floppy.entries * 32)
    let dataStart = rootStart + floppy.entries * 32
    let clusterSize = floppy.perCluster * 512
    heap = ClusterHeap(
      start: dataStart, clusterSize: clusterSize,
      count: UInt32((volume.size - dataStart) / clusterSize))
    notes = ["a floppy without parameters, told by its size and the kind of its medium"]
  }
}
