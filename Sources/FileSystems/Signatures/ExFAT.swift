internal import DiskCore

extension FileSystemSignature {
  /// exFAT (Microsoft, "exFAT file system specification", sections 3.1 and 7.3).
  static func exfat(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let boot = try source.reader(at: 0, count: 512)
    guard boot.matches("EXFAT   ", at: 3), boot.matches([0x55, 0xAA], at: 510),
      boot.matches([UInt8](repeating: 0, count: 53), at: 11)
    else { return nil }
    let sectorShift = UInt64(try boot.u8(at: 108))
    let clusterShift = UInt64(try boot.u8(at: 109))
    guard (9...12).contains(sectorShift), clusterShift <= 25 - sectorShift,
      (1...2).contains(try boot.u8(at: 110))
    else { return nil }
    let volume = ExFATVolume(
      fat: UInt64(try boot.u32(at: 80)) << sectorShift,
      heap: UInt64(try boot.u32(at: 88)) << sectorShift,
      clusterSize: 1 << (sectorShift + clusterShift), clusterCount: try boot.u32(at: 92),
      root: try boot.u32(at: 96))
    guard volume.isCluster(volume.root) else { return nil }
    return FileSystemSignature(
      type: "exfat", label: try? volume.label(source),
      uuid: try boot.serialNumber(at: 100))
  }
}

/// Where the clusters of an exFAT volume are. Offsets are in bytes.
private struct ExFATVolume {
  /// How much of the root directory is searched for the label, which formatting tools write first.
  private static let searchedDirectory = 128 << 10

  let fat: UInt64
  let heap: UInt64
  /// At most 32 MiB.
  let clusterSize: UInt64
  let clusterCount: UInt32
  let root: UInt32

  func isCluster(_ number: UInt32) -> Bool {
    number >= 2 && UInt64(number) <= UInt64(clusterCount) + 1
  }

  /// The volume label entry (type 83): a count of characters, then up to 11 of UTF-16.
  func label(_ source: SignatureSource) throws(DiskError) -> String? {
    var cluster = root
    var searched = 0
    while isCluster(cluster), searched < Self.searchedDirectory {
      let offset = heap + UInt64(cluster - 2) * clusterSize
      let count = Int(min(clusterSize, UInt64(Self.searchedDirectory - searched)))
      let directory = try source.reader(at: offset, count: count)
      for place in stride(from: 0, to: count, by: 32) {
        switch try directory.u8(at: place) {
        case 0:
          return nil
        case 0x83:
          let units = min(Int(try directory.u8(at: place + 1)), 11)
          return try directory.label(at: place + 2, utf16Units: units)
        default:
          continue
        }
      }
      searched += count
      cluster = try source.reader(at: fat + UInt64(cluster) * 4, count: 4).u32(at: 0)
    }
    return nil
  }
}
