internal import DiskCore

extension FileSystemSignature {
  /// NTFS: the boot sector says where the master file table is; its fourth record, `$Volume`, has
  /// the label (linux-ntfs documentation, "$Boot" and "$VOLUME_NAME").
  static func ntfs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let boot = try source.reader(at: 0, count: 512)
    guard boot.matches("NTFS    ", at: 3) else { return nil }
    let sectorSize = UInt64(try boot.u16(at: 0x0B))
    guard (256...4096).contains(sectorSize), isPowerOfTwo(sectorSize),
      let clusterSectors = clusterSectors(try boot.u8(at: 0x0D)),
      sectorSize * clusterSectors <= 2 << 20,
      // What FAT has here, NTFS leaves zero: reserved sectors, FATs, root entries, sectors.
      try boot.slice(at: 0x0E, count: 7).allSatisfy({ $0 == 0 }),
      try boot.u16(at: 0x16) == 0, try boot.u32(at: 0x20) == 0,
      let recordSize = recordSize(try boot.u8(at: 0x40), sectorSize * clusterSectors)
    else { return nil }
    let uuid = hexadecimal(try boot.u64(at: 0x48), digits: 16).uppercased()
    let table = try boot.u64(at: 0x30)
    guard table <= (try boot.u64(at: 0x28)) / clusterSectors else { return nil }
    let (offset, overflow) = table.multipliedReportingOverflow(by: sectorSize * clusterSectors)
    let (volume, past) = offset.addingReportingOverflow(3 * UInt64(recordSize))
    guard !overflow, !past else { return nil }
    if source.isTooFar(volume) { return FileSystemSignature(type: "ntfs", uuid: uuid) }
    guard try source.reader(at: offset, count: 4).matches("FILE", at: 0) else {
      return nil
    }
    let record = try source.reader(at: volume, count: recordSize)
    guard record.matches("FILE", at: 0) else { return nil }
    return FileSystemSignature(type: "ntfs", label: try? volumeName(record), uuid: uuid)
  }

  /// A power of two up to 128, or above that as the negative of its logarithm.
  private static func clusterSectors(_ field: UInt8) -> UInt64? {
    if field <= 128 { return isPowerOfTwo(field) ? UInt64(field) : nil }
    return (240...249).contains(field) ? 1 << (256 - UInt64(field)) : nil
  }

  /// In clusters, or below that as the negative of the logarithm of its bytes. Windows makes
  /// records of 1 KiB and 4 KiB; nothing over 64 KiB is believed.
  private static func recordSize(_ field: UInt8, _ clusterSize: UInt64) -> Int? {
    let size: UInt64
    if field < 0x80 {
      size = UInt64(field) * clusterSize
    } else {
      let logarithm = 256 - UInt64(field)
      guard logarithm <= 16 else { return nil }
      size = 1 << logarithm
    }
    return (256...65536).contains(size) && isPowerOfTwo(size) ? Int(size) : nil
  }

  /// The value of the attribute 60, which is always resident; nil where the volume has no name.
  private static func volumeName(_ record: ByteReader) throws(DiskError) -> String? {
    var place = Int(try record.u16(at: 0x14))
    while try record.u32(at: place) != 0xFFFF_FFFF {
      let length = Int(try record.u32(at: place + 4))
      guard length > 0 else { return nil }
      if try record.u32(at: place) == 0x60 {
        let bytes = Int(try record.u32(at: place + 0x10))
        let value = place + Int(try record.u16(at: place + 0x14))
        return try record.label(at: value, utf16Units: bytes / 2)
      }
      place += length
    }
    return nil
  }
}
