/// A master boot record and the extended boot records behind it, laid out by hand.
public struct MBRBuilder: Sendable {
  public struct Entry: Sendable {
    public var type: UInt8
    public var start: UInt32
    public var sectors: UInt32
    public var bootIndicator: UInt8

    public init(_ type: UInt8, start: UInt32, sectors: UInt32, bootIndicator: UInt8 = 0) {
      self.type = type
      self.start = start
      self.sectors = sectors
      self.bootIndicator = bootIndicator
    }
  }

  public let sectorSize: UInt64
  public private(set) var pieces: [(at: UInt64, bytes: [UInt8])] = []

  public init(sectorSize: UInt64 = 512) { self.sectorSize = sectorSize }

  /// Writes a boot record into sector `sector`: the entries by their slot, 0 to 3.
  public mutating func record(
    at sector: UInt64 = 0, signature: UInt32 = 0, _ entries: [Int: Entry]
  ) {
    pieces.append((sector * sectorSize, Self.sector(signature: signature, entries)))
  }

  public mutating func put(_ bytes: [UInt8], atSector sector: UInt64) {
    pieces.append((sector * sectorSize, bytes))
  }

  /// The 512 bytes of one boot record.
  public static func sector(signature: UInt32 = 0, _ entries: [Int: Entry]) -> [UInt8] {
    var sector = ImageBytes(count: 512)
    sector.putLittle(signature, at: 440)
    for (slot, entry) in entries {
      let place = 446 + 16 * slot
      sector.put([entry.bootIndicator], at: place)
      sector.put([entry.type], at: place + 4)
      sector.putLittle(entry.start, at: place + 8)
      sector.putLittle(entry.sectors, at: place + 12)
    }
    sector.put([0x55, 0xAA], at: 510)
    return sector.bytes
  }
}
