/// An ISO 9660 volume laid out by hand: descriptors at sectors 16 to 18, folders where the test puts them.
public struct ISO9660Builder {
  public static let sector = 2048

  /// A directory record (ECMA-119, 9.1).
  public struct Record {
    public var name: [UInt8]
    public var block: UInt32
    public var length: UInt32
    public var flags: UInt8 = 0
    public var attributeBlocks: UInt8 = 0
    public var unit: UInt8 = 0
    public var gap: UInt8 = 0
    public var systemUse: [UInt8] = []
    /// Years since 1900, month, day, hour, minute, second, quarters of an hour east of Greenwich.
    public var date: [UInt8] = [124, 2, 29, 12, 30, 15, 4]

    public init(_ name: String, block: UInt32, length: UInt32, flags: UInt8 = 0) {
      self.init(Array(name.utf8), block: block, length: length, flags: flags)
    }

    public init(_ name: [UInt8], block: UInt32, length: UInt32, flags: UInt8 = 0) {
      self.name = name
      self.block = block
      self.length = length
      self.flags = flags
    }

    public static func folder(_ name: String, block: UInt32, sectors: UInt32 = 1) -> Record {
      Record(name, block: block, length: sectors * 2048, flags: 2)
    }

    public func with(_ systemUse: [UInt8]...) -> Record {
      var record = self
      record.systemUse = systemUse.flatMap { $0 }
      return record
    }

    public var bytes: [UInt8] {
      var result = ImageBytes(count: (33 + name.count + 1) & ~1)
      result.put([attributeBlocks], at: 1)
      result.put(ISO9660Builder.both(block), at: 2)
      result.put(ISO9660Builder.both(length), at: 10)
      result.put(date, at: 18)
      result.put([flags, unit, gap], at: 25)
      result.put(ISO9660Builder.both(1 as UInt16), at: 28)
      result.put([UInt8(name.count)], at: 32)
      result.put(name, at: 33)
      result.put(systemUse, at: result.count)
      if result.count % 2 == 1 { result.put([0], at: result.count) }
      result.put([UInt8(truncatingIfNeeded: result.count)], at: 0)
      return result.bytes
    }
  }

  /// Folders begin at this block unless the test says otherwise.
  public static let rootBlock: UInt32 = 24

  public var blockSize: UInt16 = 2048
  public var rootBlock: UInt32 = ISO9660Builder.rootBlock
  public var blocks: UInt32 = 64
  public var session = 0
  private var pieces: [(at: UInt64, bytes: [UInt8])] = []
  private var descriptors: [[UInt8]] = []

  public init() {}

  public static func both(_ value: UInt32) -> [UInt8] {
    var bytes = ImageBytes(count: 8)
    bytes.putLittle(value, at: 0)
    bytes.putBig(value, at: 4)
    return bytes.bytes
  }

  public static func both(_ value: UInt16) -> [UInt8] {
    var bytes = ImageBytes(count: 4)
    bytes.putLittle(value, at: 0)
    bytes.putBig(value, at: 2)
    return bytes.bytes
  }

  /// Bytes at a block.
  public mutating func put(_ bytes: [UInt8], atBlock block: UInt32) {
    pieces.append((UInt64(block) * UInt64(blockSize), bytes))
  }

  /// A folder of whole sectors: the records of itself and its parent, then `records`, none of which crosses
  /// a sector's end.
  public mutating func folder(
    at block: UInt32, sectors: UInt32 = 1, parent: UInt32? = nil, own: [UInt8] = [],
    _ records: [Record]
  ) {
    put(
      Self.folder(
        at: block, sectors: sectors, parent: parent ?? rootBlock, own: own, records), atBlock: block
    )
  }

  /// The bytes of a folder.
  public static func folder(
    at block: UInt32, sectors: UInt32 = 1, parent: UInt32, own: [UInt8] = [], _ records: [Record]
  ) -> [UInt8] {
    var bytes = ImageBytes(count: Int(sectors) * Self.sector)
    var place = 0
    let ends: [Record] = [
      Record([0], block: block, length: sectors * 2048, flags: 2).with(own),
      Record([1], block: parent, length: 2048, flags: 2),
    ]
    for record in (ends + records).map(\.bytes) {
      if place % Self.sector + record.count > Self.sector {
        place = (place / Self.sector + 1) * Self.sector
      }
      bytes.put(record, at: place)
      place += record.count
    }
    return bytes.bytes
  }

  public mutating func supplementary(root: UInt32, escape: String = "%/E", version: UInt8 = 1) {
    var descriptor = ImageBytes(self.descriptor(type: 2, root: root))
    descriptor.put([version], at: 6)
    descriptor.put(escape, at: 88)
    descriptors.append(descriptor.bytes)
  }

  public mutating func bootRecord(catalogue: UInt32) {
    var descriptor = ImageBytes(count: Self.sector)
    descriptor.put("\0CD001\u{1}EL TORITO SPECIFICATION", at: 0)
    descriptor.putLittle(catalogue, at: 0x47)
    descriptors.append(descriptor.bytes)
  }

  private func descriptor(type: UInt8, root: UInt32) -> [UInt8] {
    var bytes = ImageBytes(count: Self.sector)
    bytes.put([type] + Array("CD001".utf8) + [1], at: 0)
    bytes.put(Self.both(blocks), at: 80)
    bytes.put(Self.both(blockSize), at: 128)
    bytes.put(Record([0], block: root, length: 2048, flags: 2).bytes, at: 156)
    return bytes.bytes
  }

  /// - Parameter extra: more pieces, at byte positions.
  public func built(
    size: UInt64? = nil, extra: [(at: UInt64, bytes: [UInt8])] = []
  ) -> BuiltFile {
    var all = pieces + extra
    let terminator = [255] + Array("CD001".utf8) + [1] as [UInt8]
    let rows = [descriptor(type: 1, root: rootBlock)] + descriptors + [terminator]
    for (index, row) in rows.enumerated() {
      all.append((UInt64(session + 16 + index) * UInt64(Self.sector), row))
    }
    let end = all.map { $0.at + UInt64($0.bytes.count) }.max() ?? 0
    return BuiltFile(
      size: size ?? max(end, UInt64(blocks) * UInt64(blockSize)), pieces: all)
  }
}

/// System Use entries (SUSP 1.12; RRIP 1.12).
public enum SystemUse {
  public static func entry(_ signature: String, _ content: [UInt8], version: UInt8 = 1) -> [UInt8] {
    Array(signature.utf8) + [UInt8(content.count + 4), version] + content
  }

  public static func sharing(skip: UInt8 = 0) -> [UInt8] { entry("SP", [0xBE, 0xEF, skip]) }

  public static let rockRidge: [UInt8] =
    entry("ER", [10, 0, 0, 1] + Array("RRIP_1991A".utf8))

  public static func name(_ text: String, flags: UInt8 = 0) -> [UInt8] {
    entry("NM", [flags] + Array(text.utf8))
  }

  public static func attributes(
    mode: UInt32, links: UInt32 = 1, user: UInt32 = 1000, group: UInt32 = 100,
    serial: UInt32? = nil
  ) -> [UInt8] {
    entry(
      "PX", ([mode, links, user, group] + (serial.map { [$0] } ?? [])).flatMap(ISO9660Builder.both))
  }

  public static func continuation(block: UInt32, offset: UInt32 = 0, length: UInt32) -> [UInt8] {
    entry("CE", [block, offset, length].flatMap(ISO9660Builder.both))
  }

  /// A link of components: flags and text.
  public static func link(_ components: [(UInt8, String)], flags: UInt8 = 0) -> [UInt8] {
    entry(
      "SL", [flags] + components.flatMap { [$0.0, UInt8($0.1.utf8.count)] + Array($0.1.utf8) })
  }

  public static func child(_ block: UInt32) -> [UInt8] { entry("CL", ISO9660Builder.both(block)) }
  public static let relocated = entry("RE", [])

  public static func device(_ high: UInt32, _ low: UInt32) -> [UInt8] {
    entry("PN", ISO9660Builder.both(high) + ISO9660Builder.both(low))
  }

  public static func zisofs(size: UInt32, power: UInt8 = 15) -> [UInt8] {
    entry("ZF", Array("pz".utf8) + [4, power] + ISO9660Builder.both(size))
  }

  public static func zisofs2(_ letters: String, size: UInt64, power: UInt8 = 15) -> [UInt8] {
    var bytes = ImageBytes(Array(letters.utf8) + [6, power])
    bytes.putLittle(size, at: 4)
    return entry("ZF", bytes.bytes, version: 2)
  }
}
