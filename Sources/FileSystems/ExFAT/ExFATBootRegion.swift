internal import DiskCore

/// The main or the backup boot region: twelve sectors, of which the first says where everything is and
/// the last one is a checksum of the others (Microsoft, "exFAT file system specification", section 3).
struct ExFATBootRegion: Sendable {
  /// In sectors.
  private static let length: UInt64 = 12
  /// A volume is at most as large that the number of an item (see `ExFATFileSystem`) has room for its
  /// place: 4 PiB.
  private static let largestVolume: UInt64 = 1 << 52
  /// Section 3.1.9: so that every cluster has a number below those that mark something.
  private static let mostClusters = UInt32.max - 10

  /// In bytes: a power of two from 512 to 4,096.
  let sectorSize: UInt64
  /// Of the FAT in use, in bytes from the volume's start.
  let tableStart: UInt64
  /// In bytes.
  let tableLength: UInt64
  let heap: ClusterHeap
  /// The root folder's first cluster.
  let root: UInt32
  /// In bytes, as the boot sector has it.
  let volumeSize: UInt64
  /// Whether the checksum in its last sector is right.
  let isIntact: Bool

  /// The boot region to be used, and what is to be said of it; nil where the volume is not exFAT.
  ///
  /// - Throws: what is wrong with the main region where both are bad.
  static func find(
    in volume: Volume
  ) throws(DiskError) -> (region: ExFATBootRegion, notes: [String])? {
    guard volume.size >= 512 else { return nil }
    let first = try? volume.reader(at: .start, count: 512)
    let isNamed = first?.matches("EXFAT   ", at: 3) ?? false
    // Where the first sector is anything else, the backup is of a file system that was there once.
    guard isNamed || first?.bytes.allSatisfy({ $0 == 0 }) ?? true else { return nil }
    var complaint: DiskError?
    var main: ExFATBootRegion?
    do throws(DiskError) {
      if isNamed { main = try ExFATBootRegion(at: 0, in: volume) }
    } catch {
      complaint = error
    }
    if let main, main.isIntact { return (main, []) }
    let sizes: [UInt64] = if let main { [main.sectorSize] } else { [512, 1024, 2048, 4096] }
    for size in sizes {
      if let backup = try? ExFATBootRegion(at: length * size, in: volume), backup.isIntact,
        backup.sectorSize == size
      {
        return (backup, ["the main boot region of exFAT is damaged; its backup is used"])
      }
    }
    if let main { return (main, ["the checksum of exFAT's boot region is wrong"]) }
    guard isNamed else { return nil }
    throw complaint
      ?? DiskError(
        .malformed, "the boot sector of exFAT is damaged", path: volume.storage.path, offset: 0)
  }

  /// - Throws: `malformed` where it is none.
  private init(at start: UInt64, in volume: Volume) throws(DiskError) {
    let boot = try volume.reader(at: DiskOffset(start), count: 512)
    func require(_ condition: Bool, _ problem: @autoclosure () -> String) throws(DiskError) {
      guard condition else {
        throw DiskError(
          .malformed, "the boot sector of this exFAT file system has \(problem())",
          path: volume.storage.path, offset: start)
      }
    }
    try require(
      boot.matches("EXFAT   ", at: 3) && boot.matches([0x55, 0xAA], at: 510), "no signature")
    let sectorShift = try boot.u8(at: 108)
    let clusterShift = try boot.u8(at: 109)
    try require((9...12).contains(sectorShift), "sectors of 2^\(sectorShift) bytes")
    try require(
      clusterShift <= 25 - sectorShift, "clusters of 2^\(clusterShift) sectors")
    let revision = try boot.u8(at: 105)
    try require(revision == 1, "version \(revision), which nobody knows")
    let fats = try boot.u8(at: 110)
    try require((1...2).contains(fats), "\(fats) FATs")

    let tableSectors = UInt64(try boot.u32(at: 84))
    let tableOffset = UInt64(try boot.u32(at: 80))
    let heapOffset = UInt64(try boot.u32(at: 88))
    try require(tableOffset >= 2 * Self.length, "a FAT inside the boot regions")
    try require(tableSectors > 0, "a FAT of no sectors")
    try require(
      heapOffset >= tableOffset + tableSectors * UInt64(fats), "clusters inside the FAT")
    sectorSize = 1 << UInt64(sectorShift)
    let length = tableSectors * sectorSize
    // Bit 0 of the flags: the second FAT is the one in use.
    let flags = try boot.u16(at: 106)
    let usesSecond = fats == 2 && flags & 1 != 0
    let table = tableOffset * sectorSize + (usesSecond ? length : 0)
    try require(table < volume.size, "a FAT past the end of the volume")
    tableStart = table
    tableLength = min(length, volume.size - table)
    let claimed = try boot.u32(at: 92)
    heap = ClusterHeap(
      start: heapOffset * sectorSize, clusterSize: sectorSize << UInt64(clusterShift),
      count: min(
        claimed, Self.mostClusters, ClusterTable.clusters(.exfat, in: tableLength)))
    root = try boot.u32(at: 96)
    try require(heap.contains(root), "its root in cluster \(root), which there is not")
    guard heap.start + UInt64(heap.count) * heap.clusterSize <= Self.largestVolume else {
      throw DiskError(
        .unsupported, "an exFAT file system of more than \(Self.largestVolume) bytes",
        path: volume.storage.path)
    }
    volumeSize = (try boot.u64(at: 72)).multipliedReportingOverflow(by: sectorSize).partialValue
    isIntact = Self.hasChecksum(at: start, sectorSize: sectorSize, in: volume)
  }

  /// Section 3.4: a sum over the first eleven sectors but for what changes in use, over and over in the
  /// twelfth.
  private static func hasChecksum(
    at start: UInt64, sectorSize: UInt64, in volume: Volume
  ) -> Bool {
    let size = Int(sectorSize)
    guard let region = try? volume.reader(at: DiskOffset(start), count: Int(length) * size) else {
      return false
    }
    let summed = size * Int(length - 1)
    var sum: UInt32 = 0
    for (index, byte) in region.bytes.prefix(summed).enumerated()
    where index != 106 && index != 107 && index != 112 {
      sum = (sum >> 1 | sum << 31) &+ UInt32(byte)
    }
    let stored = try? region.integers(at: summed, count: size / 4, as: UInt32.self, .little)
    return stored?.allSatisfy { $0 == sum } ?? false
  }
}
