internal import DiskCore

/// One of a disk's two GPT headers (UEFI 2.10, section 5.3.2), whose checksum held.
struct GPTHeader {
  /// The bytes that the specification defines.
  static let size = 92

  /// The sector that it was read from, which is also where it says it is.
  let place: UInt64
  /// The sector of the other header.
  let alternate: UInt64
  let firstUsable: UInt64
  let lastUsable: UInt64
  /// In lower case.
  let diskGUID: String
  let entriesStart: UInt64
  let entryCount: UInt32
  /// In bytes.
  let entrySize: UInt32
  let entriesCRC: UInt32

  /// Reads the header in sector `place`.
  ///
  /// - Throws: `notFound` where there is none, `malformed` with what is wrong with it, otherwise what kept it from being read.
  init(at place: UInt64, _ geometry: SectorGeometry) throws(DiskError) {
    let sector = try geometry.reader(at: place, count: Int(geometry.sectorSize))
    func fault(_ message: String) -> DiskError { DiskError(.malformed, message) }
    guard sector.matches("EFI PART", at: 0) else {
      throw DiskError(.notFound, "it has no GPT signature")
    }
    let size = try sector.u32(at: 12)
    guard size >= UInt32(Self.size), UInt64(size) <= geometry.sectorSize else {
      throw fault("its size of \(size) bytes is not between \(Self.size) and a sector")
    }
    guard try Self.checksum(of: sector, size: Int(size)) == sector.u32(at: 16) else {
      throw fault("its checksum is wrong")
    }
    self.place = place
    let own = try sector.u64(at: 24)
    guard own == place else { throw fault("it says that it belongs in sector \(own)") }
    alternate = try sector.u64(at: 32)
    firstUsable = try sector.u64(at: 40)
    lastUsable = try sector.u64(at: 48)
    guard firstUsable <= lastUsable else {
      throw fault("its last usable sector, \(lastUsable), is before its first, \(firstUsable)")
    }
    diskGUID = try sector.guid(at: 56)
    entriesStart = try sector.u64(at: 72)
    entryCount = try sector.u32(at: 80)
    entrySize = try sector.u32(at: 84)
    entriesCRC = try sector.u32(at: 88)
    // 128 × 2ⁿ.
    guard entrySize >= 128, entrySize <= PartitionLimits.entrySize,
      entrySize & (entrySize - 1) == 0
    else {
      throw fault("its entry size of \(entrySize) bytes is no power of two from 128 to 4096")
    }
    let total = UInt64(entryCount) * UInt64(entrySize)
    guard total > 0, total <= PartitionLimits.entryArray else {
      throw fault("its \(entryCount) entries are none or more than fit in 1 MiB")
    }
  }

  /// Over the header with the checksum itself taken as zero.
  private static func checksum(of sector: ByteReader, size: Int) throws(DiskError) -> UInt32 {
    var crc = CRC32()
    crc.add(try sector.slice(at: 0, count: 16))
    crc.add([0, 0, 0, 0])
    crc.add(try sector.slice(at: 20, count: size - 20))
    return crc.value
  }

  /// The entry array that this header names.
  ///
  /// - Throws: `malformed` where its checksum is wrong; otherwise what kept it from being read.
  func entries(_ geometry: SectorGeometry) throws(DiskError) -> ByteReader {
    let entries = try geometry.reader(
      at: entriesStart, count: Int(entryCount) * Int(entrySize))
    guard CRC32.of(entries.bytes) == entriesCRC else {
      throw DiskError(.malformed, "the checksum of its entries is wrong")
    }
    return entries
  }

  /// In what `other`, which should be this header's copy, is not one.
  func differences(from other: GPTHeader) -> [String] {
    [
      (diskGUID == other.diskGUID, "the disk's GUID"),
      (alternate == other.place && place == other.alternate, "where the headers are"),
      (
        firstUsable == other.firstUsable && lastUsable == other.lastUsable, "the usable sectors"
      ),
      (
        entryCount == other.entryCount && entrySize == other.entrySize
          && entriesCRC == other.entriesCRC, "the partitions"
      ),
    ].filter { !$0.0 }.map(\.1)
  }
}
