/// An exFAT volume laid out by hand, as `fsck.exfat` accepts it: both boot regions, the FAT, the
/// allocation bitmap in cluster 2, the table of upper case from cluster 3 on, and then the root.
public struct ExFATBuilder: Sendable {
  public static let readOnly: UInt16 = 0x01
  public static let folder: UInt16 = 0x10
  public static let archive: UInt16 = 0x20

  /// In bytes.
  public let sectorSize: Int
  public let clusterSize: Int
  public let clusters: Int
  public let fat: Int
  public let heap: Int
  public let rootCluster: Int
  public let upCaseCluster = 3
  /// Where the root's entries behind the three of the volume begin.
  public let entries: Int
  public private(set) var image: ImageBytes

  /// A cluster must have room for the bitmap.
  public init(clusters: Int = 1000, sectorShift: Int = 9, clusterShift: Int = 0) {
    sectorSize = 1 << sectorShift
    clusterSize = sectorSize << clusterShift
    self.clusters = clusters
    // a–z and à–þ, the rest compressed: 0xFFFF and how many follow that are their own.
    var table: [UInt16] = [0xFFFF, 0x61] + (0x41...0x5A).map { UInt16($0) }
    table += [0xFFFF, 0xE0 - 0x7B] + (0xC0...0xD6).map { UInt16($0) } + [0xF7]
    table += (0xD8...0xDE).map { UInt16($0) } + [0xFFFF, 0xFF01]
    let upCase = table.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
    let upCaseClusters = (upCase.count + clusterSize - 1) / clusterSize
    rootCluster = upCaseCluster + upCaseClusters
    fat = 24 * sectorSize
    let fatSectors = ((clusters + 2) * 4 + sectorSize - 1) / sectorSize
    heap = (24 + fatSectors) * sectorSize
    entries = heap + (rootCluster - 2) * clusterSize + 96
    image = ImageBytes(count: heap + clusters * clusterSize)
    image.put([0xEB, 0x76, 0x90], at: 0)
    image.put("EXFAT   ", at: 3)
    image.putLittle(UInt64(image.count / sectorSize), at: 72)
    image.putLittle(UInt32(24), at: 80)
    image.putLittle(UInt32(fatSectors), at: 84)
    image.putLittle(UInt32(24 + fatSectors), at: 88)
    image.putLittle(UInt32(clusters), at: 92)
    image.putLittle(UInt32(rootCluster), at: 96)
    image.putLittle(0x1234_ABCD as UInt32, at: 100)
    image.put([0, 1, 0, 0, UInt8(sectorShift), UInt8(clusterShift), 1, 0x80], at: 104)
    image.put([0x55, 0xAA], at: 510)
    for sector in 1...8 { image.put([0, 0, 0x55, 0xAA], at: (sector + 1) * sectorSize - 4) }
    seal()
    link(0, to: 0xFFFF_FFF8)
    link(1, to: 0xFFFF_FFFF)
    chain([2])
    chain(Array(upCaseCluster..<rootCluster))
    chain([rootCluster])
    image.put(upCase, at: place(of: upCaseCluster))
    let root = place(of: rootCluster)
    // No label yet, the bitmap, the table.
    image.put([0x83], at: root)
    image.put([0x81], at: root + 32)
    image.putLittle(2 as UInt32, at: root + 52)
    image.putLittle(UInt64((clusters + 7) / 8), at: root + 56)
    image.put([0x82], at: root + 64)
    image.putLittle(Self.sum(upCase), at: root + 68)
    image.putLittle(UInt32(upCaseCluster), at: root + 84)
    image.putLittle(UInt64(upCase.count), at: root + 88)
  }

  public var bytes: [UInt8] { image.bytes }

  public mutating func put(_ bytes: [UInt8], at offset: Int) { image.put(bytes, at: offset) }

  public mutating func putLittle(_ value: some FixedWidthInteger, at offset: Int) {
    image.putLittle(value, at: offset)
  }

  public func place(of cluster: Int) -> Int { heap + (cluster - 2) * clusterSize }

  /// Gives the main boot region its checksum and makes the backup.
  public mutating func seal() {
    var sum: UInt32 = 0
    for (index, byte) in image.bytes[..<(11 * sectorSize)].enumerated()
    where ![106, 107, 112].contains(index) {
      sum = ((sum & 1) << 31 | sum >> 1) &+ UInt32(byte)
    }
    for word in 0..<sectorSize / 4 { image.putLittle(sum, at: 11 * sectorSize + word * 4) }
    image.put(Array(image.bytes[..<(12 * sectorSize)]), at: 12 * sectorSize)
  }

  private static func sum(_ bytes: [UInt8]) -> UInt32 {
    bytes.reduce(0) { (($0 & 1) << 31 | $0 >> 1) &+ UInt32($1) }
  }

  public mutating func link(_ cluster: Int, to next: UInt32) {
    image.putLittle(next, at: fat + cluster * 4)
  }

  /// Marks clusters as in use, and links them.
  public mutating func chain(_ clusters: [Int]) {
    for (index, cluster) in clusters.enumerated() {
      link(cluster, to: index + 1 < clusters.count ? UInt32(clusters[index + 1]) : 0xFFFF_FFFF)
    }
    use(clusters)
  }

  /// Marks clusters as in use.
  public mutating func use(_ clusters: [Int]) {
    for cluster in clusters {
      let byte = place(of: 2) + (cluster - 2) / 8
      image.put([image.bytes[byte] | 1 << UInt8((cluster - 2) % 8)], at: byte)
    }
  }

  /// Fills clusters with bytes, which are linked or are beside each other.
  public mutating func fill(_ clusters: [Int], with content: [UInt8], linked: Bool = true) {
    if linked { chain(clusters) } else { use(clusters) }
    for (index, cluster) in clusters.enumerated() {
      let from = min(index * clusterSize, content.count)
      put(Array(content[from..<min(content.count, from + clusterSize)]), at: place(of: cluster))
    }
  }

  public struct Item: Sendable {
    public var name: String
    public var attributes = ExFATBuilder.archive
    public var cluster = 0
    public var size: UInt64 = 0
    /// Nil for all of it.
    public var written: UInt64?
    public var isContiguous = false
    /// Date above, time below.
    public var modified: UInt32 = 0x5A21_6000
    public var hundredths: UInt8 = 0
    public var zone: UInt8 = 0x80

    public init(_ name: String) { self.name = name }
  }

  /// The entries of one item; the checksum is of what `change` leaves.
  public static func entries(
    _ item: Item, change: (inout ImageBytes) -> Void = { _ in }
  ) -> [UInt8] {
    let units = Array(item.name.utf16)
    let names = (units.count + 14) / 15
    var set = ImageBytes(count: 64 + names * 32)
    set.put([0x85, UInt8(1 + names)], at: 0)
    set.putLittle(item.attributes, at: 4)
    for place in [8, 12, 16] { set.putLittle(item.modified, at: place) }
    set.put([item.hundredths, item.hundredths, item.zone, item.zone, item.zone], at: 20)
    set.put([0xC0, item.cluster == 0 ? 1 : item.isContiguous ? 3 : 1, 0], at: 32)
    set.put([UInt8(units.count)], at: 35)
    // Of the name in upper case, as far as the table above goes.
    var hash: UInt16 = 0
    for unit in item.name.uppercased().utf16 {
      for byte in [unit & 0xFF, unit >> 8] { hash = ((hash & 1) << 15 | hash >> 1) &+ byte }
    }
    set.putLittle(hash, at: 36)
    set.putLittle(item.written ?? item.size, at: 40)
    set.putLittle(UInt32(item.cluster), at: 52)
    set.putLittle(item.size, at: 56)
    for (index, unit) in units.enumerated() {
      let entry = 64 + index / 15 * 32
      set.put([0xC1], at: entry)
      set.putLittle(unit, at: entry + 2 + index % 15 * 2)
    }
    change(&set)
    var sum: UInt16 = 0
    for (index, byte) in set.bytes.enumerated() where index != 2 && index != 3 {
      sum = ((sum & 1) << 15 | sum >> 1) &+ UInt16(byte)
    }
    set.putLittle(sum, at: 2)
    return set.bytes
  }

  /// Writes an item's entries and gives the place behind them.
  @discardableResult
  public mutating func put(_ item: Item, at place: Int) -> Int {
    let bytes = Self.entries(item)
    put(bytes, at: place)
    return place + bytes.count
  }
}
