/// A FAT volume laid out by hand: boot sector, FATs, directory entries, each where a test wants it.
public struct FATBuilder: Sendable {
  public enum Width: Int, Sendable, CaseIterable {
    case fat12 = 12
    case fat16 = 16
    case fat32 = 32
  }

  public static let readOnly: UInt8 = 0x01
  public static let label: UInt8 = 0x08
  public static let folder: UInt8 = 0x10
  public static let archive: UInt8 = 0x20

  public private(set) var image: ImageBytes
  public let width: Width
  public let clusterSize: Int
  public let clusters: Int
  /// Where the first FAT, the root folder and cluster 2 are, in bytes.
  public let fat: Int
  public let root: Int
  public let data: Int
  /// Of one FAT, in bytes.
  public let fatLength: Int

  /// Of FAT32 the root is in cluster 2, and there is a backup of the boot sector.
  public init(
    _ width: Width = .fat12, clusters: Int? = nil, sectorsPerCluster: Int = 1,
    rootEntries: Int = 64, sectorSize: Int = 512
  ) {
    let clusters = clusters ?? (width == .fat12 ? 300 : width == .fat16 ? 4100 : 200)
    self.width = width
    self.clusters = clusters
    clusterSize = sectorsPerCluster * sectorSize
    let reserved = width == .fat32 ? 32 : 1
    let perFAT = ((clusters + 2) * width.rawValue / 8 + sectorSize) / sectorSize
    let entries = width == .fat32 ? 0 : rootEntries
    let afterFATs = reserved + 2 * perFAT
    let rootSectors = (entries * 32 + sectorSize - 1) / sectorSize
    let total = afterFATs + rootSectors + clusters * sectorsPerCluster
    fatLength = perFAT * sectorSize
    fat = reserved * sectorSize
    data = (afterFATs + rootSectors) * sectorSize
    root = width == .fat32 ? data : afterFATs * sectorSize
    image = ImageBytes(count: total * sectorSize)
    put([0xEB, 0x3C, 0x90], at: 0)
    put(Array("TESTTEST".utf8), at: 3)
    putLittle(UInt16(sectorSize), at: 0x0B)
    put([UInt8(sectorsPerCluster)], at: 0x0D)
    putLittle(UInt16(reserved), at: 0x0E)
    put([2], at: 0x10)
    putLittle(UInt16(entries), at: 0x11)
    // Sectors in a track and heads, without which mtools do nothing.
    put([1, 0, 1, 0], at: 0x18)
    putLittle(UInt32(total), at: 0x20)
    put([0xF8], at: 0x15)
    if width == .fat32 {
      putLittle(UInt32(perFAT), at: 0x24)
      putLittle(2 as UInt32, at: 0x2C)
      putLittle(6 as UInt16, at: 0x32)
      put(Array("FAT32   ".utf8), at: 0x52)
    } else {
      putLittle(UInt16(perFAT), at: 0x16)
      put(Array((width == .fat12 ? "FAT12   " : "FAT16   ").utf8), at: 0x36)
    }
    put([0x55, 0xAA], at: 510)
    if width == .fat32 { put(Array(bytes[..<512]), at: 6 * sectorSize) }
    link(0, to: 0x0FFF_FFF8)
    link(1, to: 0x0FFF_FFFF)
    if width == .fat32 { chain([2]) }
  }

  public var bytes: [UInt8] { image.bytes }

  public mutating func put(_ bytes: [UInt8], at offset: Int) { image.put(bytes, at: offset) }

  public mutating func putLittle(_ value: some FixedWidthInteger, at offset: Int) {
    image.putLittle(value, at: offset)
  }

  /// Where a cluster is, in bytes.
  public func place(of cluster: Int) -> Int { data + (cluster - 2) * clusterSize }

  /// Sets a cluster's entry in both FATs; only the bits that the width has count.
  public mutating func link(_ cluster: Int, to next: UInt32) {
    for copy in 0..<2 {
      let start = fat + copy * fatLength
      switch width {
      case .fat12:
        let place = start + cluster * 3 / 2
        let (low, high) = (image.bytes[place], image.bytes[place + 1])
        if cluster % 2 == 0 {
          image.put([UInt8(next & 0xFF), high & 0xF0 | UInt8(next >> 8 & 0xF)], at: place)
        } else {
          image.put([low & 0x0F | UInt8(next << 4 & 0xF0), UInt8(next >> 4 & 0xFF)], at: place)
        }
      case .fat16: image.putLittle(UInt16(next & 0xFFFF), at: start + cluster * 2)
      case .fat32: image.putLittle(next, at: start + cluster * 4)
      }
    }
  }

  /// Links clusters to each other and marks the last one as the end.
  public mutating func chain(_ clusters: [Int]) {
    for (index, cluster) in clusters.enumerated() {
      link(cluster, to: index + 1 < clusters.count ? UInt32(clusters[index + 1]) : 0x0FFF_FFFF)
    }
  }

  /// Links clusters and fills them with bytes.
  public mutating func fill(_ clusters: [Int], with content: [UInt8]) {
    chain(clusters)
    for (index, cluster) in clusters.enumerated() {
      let from = min(index * clusterSize, content.count)
      put(Array(content[from..<min(content.count, from + clusterSize)]), at: place(of: cluster))
    }
  }

  /// Writes a short entry: eleven bytes of name.
  public mutating func entry(
    _ name: [UInt8], at place: Int, attributes: UInt8 = archive, cluster: Int = 0, size: Int = 0,
    lowerCase: UInt8 = 0, date: UInt16 = 0x5A21, time: UInt16 = 0x6000
  ) {
    put(name + [attributes, lowerCase], at: place)
    putLittle(date, at: place + 24)
    putLittle(time, at: place + 22)
    putLittle(UInt16(cluster >> 16), at: place + 20)
    putLittle(UInt16(cluster & 0xFFFF), at: place + 26)
    putLittle(UInt32(truncatingIfNeeded: size), at: place + 28)
  }

  public mutating func entry(
    _ name: String, at place: Int, attributes: UInt8 = archive, cluster: Int = 0, size: Int = 0
  ) {
    entry(Array(name.utf8), at: place, attributes: attributes, cluster: cluster, size: size)
  }

  /// Writes the parts of a long name for the short entry that is to follow, and gives its place.
  @discardableResult
  public mutating func longName(
    _ name: [UInt16], for short: String, at place: Int, checksum: UInt8? = nil
  ) -> Int {
    var sum: UInt8 = 0
    for byte in short.utf8 { sum = ((sum & 1) << 7 | sum >> 1) &+ byte }
    let parts = (name.count + 12) / 13
    var units = name + (name.count % 13 == 0 ? [] : [0])
    while units.count < parts * 13 { units.append(0xFFFF) }
    for index in 0..<parts {
      let number = parts - index
      let at = place + index * 32
      put([UInt8(number) | (index == 0 ? 0x40 : 0)], at: at)
      put([0x0F, 0, checksum ?? sum], at: at + 11)
      let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]
      for (unit, offset) in places.enumerated() {
        putLittle(units[(number - 1) * 13 + unit], at: at + offset)
      }
    }
    return place + parts * 32
  }
}
