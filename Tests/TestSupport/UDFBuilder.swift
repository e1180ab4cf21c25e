/// A UDF volume laid out by hand, descriptor by descriptor (ECMA-167; OSTA UDF).
///
/// Sector 256 has the anchor, 257 the main descriptors, 265 the reserve ones, 280 starts the partition;
/// block 0 of that has the file set's descriptor, block 1 the root folder's entry, unless a test says
/// otherwise.
public struct UDFBuilder {
  public static let partitionSector = 280
  public static let mainSector = 257
  public static let reserveSector = 265

  public var blockSize = 2048
  public var revision: UInt16 = 0x0102
  public var partitionBlocks: UInt32 = 256
  public var maps: [[UInt8]] = [UDFBuilder.plainMap()]
  /// Where the file set is, and the root folder: partition reference and block.
  public var fileSet: (partition: UInt16, block: UInt32) = (0, 0)
  public var root: (partition: UInt16, block: UInt32) = (0, 1)
  /// Which sectors have one.
  public var anchors: [Int] = [256]
  public var isBridge = false
  private var image = ImageBytes(count: 0)

  public init(blockSize: Int = 2048) { self.blockSize = blockSize }

  // MARK: What stands where

  public mutating func put(_ bytes: [UInt8], sector: Int, offset: Int = 0) {
    image.put(bytes, at: sector * blockSize + offset)
  }

  /// In a block of the partition as it is on the disc.
  public mutating func put(_ bytes: [UInt8], block: UInt32, offset: Int = 0) {
    put(bytes, sector: Self.partitionSector + Int(block), offset: offset)
  }

  /// A descriptor in a block of the partition, whose tag says that it is in `location`.
  public mutating func put(_ kind: UInt16, _ body: [UInt8], block: UInt32, location: UInt32? = nil)
  {
    put(Self.descriptor(kind, body, location: location ?? block), block: block)
  }

  public mutating func put(_ entry: Entry, block: UInt32, location: UInt32? = nil) {
    put(entry.descriptor(location: location ?? block), block: block)
  }

  /// The root folder, its entries in its own entry.
  public mutating func putRoot(_ identifiers: [[UInt8]]) {
    put(Entry(type: 4, form: 3, data: identifiers.flatMap { $0 }), block: root.block)
  }

  /// The image, with what the tests have in common.
  public func built() -> [UInt8] {
    var copy = self
    copy.putCommon()
    return copy.image.bytes
  }

  private mutating func putCommon() {
    let recognition =
      (isBridge ? ["\u{1}CD001"] : []) + [
        "\0BEA01", revision < 0x0200 ? "\0NSR02" : "\0NSR03", "\0TEA01",
      ]
    for (index, name) in recognition.enumerated() {
      image.put(name, at: 32768 + index * max(2048, blockSize))
      image.put([1], at: 32768 + index * max(2048, blockSize) + 6)
    }
    for sector in anchors { put(anchor(), sector: sector, location: sector) }
    for start in [Self.mainSector, Self.reserveSector] {
      put(Self.descriptor(5, partition(sequence: 1), location: UInt32(start)), sector: start)
      put(
        Self.descriptor(6, logicalVolume(sequence: 2), location: UInt32(start + 1)),
        sector: start + 1)
      put(
        Self.descriptor(8, [UInt8](repeating: 0, count: 496), location: UInt32(start + 2)),
        sector: start + 2)
    }
    if fileSet.partition == 0 { put(256, fileSetDescriptor(), block: fileSet.block) }
    image.grow(to: (Self.partitionSector + Int(partitionBlocks)) * blockSize)
  }

  public mutating func put(_ anchor: [UInt8], sector: Int, location: Int) {
    put(Self.descriptor(2, anchor, location: UInt32(location)), sector: sector)
  }

  // MARK: Bodies of descriptors, without their tags

  public func anchor() -> [UInt8] {
    let length = UInt32(8 * blockSize)
    return Self.little(length) + Self.little(UInt32(Self.mainSector)) + Self.little(length)
      + Self.little(UInt32(Self.reserveSector)) + [UInt8](repeating: 0, count: 480)
  }

  public func partition(sequence: UInt32, number: UInt16 = 0, start: UInt32? = nil) -> [UInt8] {
    var body = ImageBytes(count: 496)
    body.putLittle(sequence, at: 0)
    body.putLittle(1 as UInt16, at: 4)
    body.putLittle(number, at: 6)
    body.put(revision < 0x0200 ? "+NSR02" : "+NSR03", at: 9)
    body.putLittle(1 as UInt32, at: 168)
    body.putLittle(start ?? UInt32(Self.partitionSector), at: 172)
    body.putLittle(partitionBlocks, at: 176)
    return body.bytes
  }

  public func logicalVolume(sequence: UInt32) -> [UInt8] {
    var body = ImageBytes(count: 424)
    body.putLittle(sequence, at: 0)
    body.put("\0OSTA Compressed Unicode", at: 4)
    body.put([8] + Array("Hand".utf8), at: 68)
    body.put([5], at: 195)
    body.putLittle(UInt32(blockSize), at: 196)
    body.put("\0*OSTA UDF Compliant", at: 200)
    body.putLittle(revision, at: 224)
    body.put(Self.long(UInt32(blockSize), fileSet.block, fileSet.partition), at: 232)
    body.putLittle(UInt32(maps.joined().count), at: 248)
    body.putLittle(UInt32(maps.count), at: 252)
    return body.bytes + maps.flatMap { $0 }
  }

  public func fileSetDescriptor(number: UInt32 = 0) -> [UInt8] {
    var body = ImageBytes(count: 496)
    body.putLittle(number, at: 28)
    body.put(Self.long(UInt32(blockSize), root.block, root.partition), at: 384)
    return body.bytes
  }

  // MARK: Partition maps

  public static func plainMap(number: UInt16 = 0) -> [UInt8] { [1, 6, 1, 0] + little(number) }

  public static func virtualMap() -> [UInt8] { map("*UDF Virtual Partition", []) }

  public static func sparableMap(packet: UInt16 = 32, size: UInt32, tables: [UInt32]) -> [UInt8] {
    map(
      "*UDF Sparable Partition",
      little(packet) + [UInt8(tables.count), 0] + little(size) + tables.flatMap { little($0) })
  }

  public static func metadataMap(main: UInt32, mirror: UInt32) -> [UInt8] {
    map(
      "*UDF Metadata Partition",
      little(main) + little(mirror) + little(UInt32.max) + little(32 as UInt32)
        + little(1 as UInt16) + [1])
  }

  public static func map(_ name: String, _ rest: [UInt8]) -> [UInt8] {
    var map = ImageBytes(count: 64)
    map.put([2, 64, 0, 0, 0], at: 0)
    map.put(name, at: 5)
    map.put([1, 0, 0, 0], at: 36)
    map.put(rest, at: 40)
    return map.bytes
  }

  /// - Parameter entries: packets' first blocks, and the sectors they were moved to.
  public static func sparingTable(
    sequence: UInt32, _ entries: [(UInt32, UInt32)], sector: UInt32
  ) -> [UInt8] {
    var body = ImageBytes(count: 40)
    body.put("\0*UDF Sparing Table", at: 0)
    body.putLittle(UInt16(truncatingIfNeeded: entries.count), at: 32)
    body.putLittle(sequence, at: 36)
    return descriptor(
      0, body.bytes + entries.flatMap { little($0.0) + little($0.1) }, location: sector)
  }

  // MARK: Parts

  public static func little(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  /// `kind`: 0 recorded, 1 allocated, 2 neither, 3 more descriptors.
  public static func short(_ length: UInt32, _ block: UInt32, kind: UInt32 = 0) -> [UInt8] {
    little(length | kind << 30) + little(block)
  }

  public static func long(
    _ length: UInt32, _ block: UInt32, _ partition: UInt16 = 0, kind: UInt32 = 0
  ) -> [UInt8] {
    short(length, block, kind: kind) + little(partition) + [0, 0, 0, 0, 0, 0]
  }

  public static func extended(
    _ length: UInt32, _ block: UInt32, _ partition: UInt16 = 0, kind: UInt32 = 0
  ) -> [UInt8] {
    little(length | kind << 30) + little(length) + little(length) + little(block)
      + little(partition) + [0, 0]
  }

  /// A name: 8 bits a character where they are enough.
  public static func name(_ text: String) -> [UInt8] {
    if text.unicodeScalars.allSatisfy({ $0.value < 256 }) {
      return [8] + text.unicodeScalars.map { UInt8($0.value) }
    }
    return [16] + text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
  }

  /// A file identifier; characteristics: 1 hidden, 2 folder, 4 deleted, 8 parent.
  public static func identifier(
    _ name: [UInt8], _ block: UInt32, partition: UInt16 = 0, characteristics: UInt8 = 0,
    use: Int = 0
  ) -> [UInt8] {
    var body = little(1 as UInt16) + [characteristics, UInt8(name.count)]
    body += long(2048, block, partition) + little(UInt16(use))
    body += [UInt8](repeating: 0xEE, count: use) + name
    body += [UInt8](repeating: 0, count: -(16 + body.count) & 3)
    return descriptor(257, body, location: 0)
  }

  public static func identifier(
    _ name: String, _ block: UInt32, partition: UInt16 = 0, characteristics: UInt8 = 0
  ) -> [UInt8] {
    identifier(Self.name(name), block, partition: partition, characteristics: characteristics)
  }

  /// Local time, `minutes` east of Greenwich.
  public static func time(
    _ year: UInt16, _ month: UInt8, _ day: UInt8, _ hour: UInt8 = 0, _ minute: UInt8 = 0,
    _ second: UInt8 = 0, fraction: [UInt8] = [0, 0, 0], minutes: Int16 = 0, type: UInt16 = 1
  ) -> [UInt8] {
    little(type << 12 | UInt16(bitPattern: minutes) & 0xFFF) + little(year)
      + [month, day, hour, minute, second] + fraction
  }

  public static func descriptor(_ kind: UInt16, _ body: [UInt8], location: UInt32) -> [UInt8] {
    var tag = little(kind) + little(2 as UInt16) + [0, 0] + little(0 as UInt16)
    let covered = body.prefix(Int(UInt16.max))
    tag += little(checksum(Array(covered))) + little(UInt16(covered.count)) + little(location)
    tag[4] = tag.reduce(0, &+)
    return tag + body
  }

  /// CRC-16 bit by bit, so that the reader's table is not compared with itself.
  public static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var value: UInt16 = 0
    for byte in bytes {
      for bit in (0..<8).reversed() {
        let carry = (value >> 15 ^ UInt16(byte >> bit) & 1) & 1
        value = value << 1 ^ (carry == 1 ? 0x1021 : 0)
      }
    }
    return value
  }

  /// A file entry.
  public struct Entry {
    public var type: UInt8
    /// 0 short, 1 long, 2 extended allocation descriptors; 3: `data` is the file.
    public var form: UInt16
    /// Allocation descriptors, or the file.
    public var data: [UInt8]
    public var size: UInt64
    public var isExtended = false
    public var strategy: UInt16 = 4
    public var flags: UInt16 = 0
    public var user: UInt32 = .max
    public var group: UInt32 = .max
    /// As UDF has them: five bits each for others, the group, the owner.
    public var permissions: UInt32 = 0b00111_00101_00101
    public var links: UInt16 = 1
    public var blocks: UInt64 = 0
    public var accessed = UDFBuilder.time(2001, 1, 1)
    public var modified = UDFBuilder.time(2002, 2, 2)
    public var created = UDFBuilder.time(2003, 3, 3)
    public var changed = UDFBuilder.time(2004, 4, 4)
    public var attributes: [UInt8] = []
    /// Instead of the true lengths.
    public var attributesLength: UInt32?
    public var dataLength: UInt32?

    public init(type: UInt8 = 5, form: UInt16 = 3, data: [UInt8], size: UInt64? = nil) {
      self.type = type
      self.form = form
      self.data = data
      self.size = size ?? UInt64(data.count)
    }

    public func with(_ change: (inout Entry) -> Void) -> Entry {
      var copy = self
      change(&copy)
      return copy
    }

    public func descriptor(location: UInt32) -> [UInt8] {
      var body = ImageBytes(count: isExtended ? 200 : 160)
      body.putLittle(strategy, at: 4)
      body.putLittle(1 as UInt16, at: 8)
      body.put([type], at: 11)
      body.putLittle(form | flags, at: 18)
      body.putLittle(user, at: 20)
      body.putLittle(group, at: 24)
      body.putLittle(permissions, at: 28)
      body.putLittle(links, at: 32)
      body.putLittle(size, at: 40)
      body.putLittle(blocks, at: isExtended ? 56 : 48)
      if isExtended { body.putLittle(size, at: 48) }
      let times =
        isExtended ? [accessed, modified, created, changed] : [accessed, modified, changed]
      body.put(times.flatMap { $0 }, at: isExtended ? 64 : 56)
      body.putLittle(attributesLength ?? UInt32(attributes.count), at: body.count - 8)
      body.putLittle(dataLength ?? UInt32(data.count), at: body.count - 4)
      return UDFBuilder.descriptor(
        isExtended ? 266 : 261, body.bytes + attributes + data, location: location)
    }
  }
}
