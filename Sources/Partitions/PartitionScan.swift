public import DiskCore
internal import FileSystems

extension PartitionTable {
  /// Reads the partition table of the disk in `window`: GPT where the MBR promises one, else MBR.
  ///
  /// A damaged table gives the partitions that can be used, and notes that say what is wrong; a
  /// disk that is one file system, or nothing known, a table of kind `none`. Costs a few sectors,
  /// the entry array and, for an MBR, one look for a file system on the disk or in its partitions. What
  /// only confirms a table that is good is not looked for far in a compressed stream.
  ///
  /// - Parameter sectorSize: 512, 1024, 2048 or 4096 bytes to count in; nil to find it by looking.
  /// - Throws: `invalidRequest` for any other sector size. A disk that cannot be read has a table of
  ///   kind `none`, whose note says why: the rest of it can still be shown.
  public static func read(
    from window: Window, sectorSize: UInt64? = nil
  ) throws(DiskError) -> PartitionTable {
    if let sectorSize, !SectorGeometry.validSizes.contains(sectorSize) {
      throw DiskError(
        .invalidRequest,
        "a sector size of \(sectorSize) bytes is none of 512, 1024, 2048 and 4096")
    }
    let none = PartitionTable(kind: .none, sectorSize: sectorSize ?? 512)
    guard window.size >= 512 else { return none }
    var table = none
    let sector: ByteReader
    do throws(DiskError) {
      sector = try window.reader(at: .start, count: 512)
    } catch {
      table.notes.append("no partition table: the first sector cannot be read (\(error))")
      return table
    }
    let record = try MasterBootRecord(sector)
    if let record, record.isProtective {
      return gpt(record, window, sectorSize)
    }
    if let record, !MasterBootRecord.isAIX(sector, record) {
      table = mbr(record, window, sectorSize)
    }
    if let size = strayGPT(window, sectorSize) {
      table.notes.append(
        "there is a GPT header (\(size)-byte sectors), but no MBR entry of type ee that says to "
          + "use it")
    }
    return table
  }

  /// The partition of that number.
  ///
  /// - Throws: `notFound`, naming the numbers that exist.
  public func partition(_ number: Int) throws(DiskError) -> Partition {
    if let found = partitions.first(where: { $0.number == number }) { return found }
    let message =
      switch partitions.count {
      case 0 where kind == .none:
        "there is no partition \(number); the disk has no partition table"
      case 0: "there is no partition \(number); the partition table is empty"
      case 1: "there is no partition \(number); there is only \(partitions[0].number)"
      default:
        "there is no partition \(number); there are \(listed(partitions.map { "\($0.number)" }))"
      }
    throw DiskError(.notFound, message)
  }

  private static func gpt(
    _ record: MasterBootRecord, _ window: Window, _ sectorSize: UInt64?
  ) -> PartitionTable {
    let sizes = sectorSize.map { [$0] } ?? gptSectorSizes
    var table = GPT.table(
      geometries: sizes.map { SectorGeometry(window: window, sectorSize: $0) })
    if table.kind == .none { table.sectorSize = sectorSize ?? 512 }
    let others = record.entries.filter { $0.isUsed && !$0.isProtective }.count
    if table.kind == .gpt, others > 0 {
      table.notes.append(
        "a hybrid MBR: it lists \(others) of the partitions as well; the GPT is used")
    }
    return table
  }

  private static func mbr(
    _ record: MasterBootRecord, _ window: Window, _ sectorSize: UInt64?
  ) -> PartitionTable {
    var table = PartitionTable(kind: .none, sectorSize: sectorSize ?? 512)
    guard record.hasValidBootIndicators else { return table }
    // Their boot sectors end in 55 AA too, and what stands where the entries would be is code.
    let whole = FileSystemSignature.find(in: window, goingFar: false)
    if let whole, fileSystemsWithBootSector.contains(whole.type) {
      if record.couldBeTable(of: window.size / 512) {
        table.notes.append(
          "the first sector is the boot sector of a \(whole.type) file system; what could be a "
            + "partition table in it is ignored")
      }
      return table
    }
    // Without entries, only its signature tells a table from any other boot sector.
    if record.isEmpty, whole != nil || record.diskSignature == nil { return table }
    if let sectorSize {
      return MBRPartitions.table(record, SectorGeometry(window: window, sectorSize: sectorSize))
    }
    let small = MBRPartitions.table(record, SectorGeometry(window: window, sectorSize: 512))
    if small.isConfirmed(in: window) { return small }
    let large = MBRPartitions.table(record, SectorGeometry(window: window, sectorSize: 4096))
    return large.fits && large.isConfirmed(in: window) ? large : small
  }

  /// Whether what the partitions hold says that they are where the table puts them: a chain of
  /// logical ones, or a file system.
  private func isConfirmed(in window: Window) -> Bool {
    partitions.contains { partition in
      if partition.number > 4 { return true }
      guard let part = try? window.window(at: partition.start, size: partition.size) else {
        return false
      }
      return FileSystemSignature.find(in: part, goingFar: false) != nil
    }
  }

  /// Whether every entry fits on the disk as it stands.
  private var fits: Bool { notes.isEmpty }

  /// The sector size with which sector 1 starts like a GPT header.
  private static func strayGPT(_ window: Window, _ sectorSize: UInt64?) -> UInt64? {
    (sectorSize.map { [$0] } ?? gptSectorSizes).first { size in
      let sector = try? SectorGeometry(window: window, sectorSize: size).reader(at: 1, count: 8)
      return sector?.matches("EFI PART", at: 0) ?? false
    }
  }

  /// What disks are made with, the common one first; 2048 on optical ones.
  private static let gptSectorSizes: [UInt64] = [512, 4096, 2048]

  private static let fileSystemsWithBootSector: Set<String> = ["vfat", "exfat", "ntfs"]
}
