/// A GPT disk laid out by hand: protective MBR, both headers, both entry arrays.
public struct GPTBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public struct Entry: Sendable {
    public var type: [UInt8]
    public var uuid: [UInt8]
    public var first: UInt64
    public var last: UInt64
    public var attributes: UInt64
    /// UTF-16 code units, up to 36.
    public var name: [UInt16]

    public init(
      first: UInt64, last: UInt64, name: [UInt16] = [], type: [UInt8] = GPTBuilder.linuxType,
      uuid: [UInt8] = [UInt8](repeating: 0xAB, count: 16), attributes: UInt64 = 0
    ) {
      (self.first, self.last, self.name) = (first, last, name)
      (self.type, self.uuid, self.attributes) = (type, uuid, attributes)
    }
  }

  /// 0FC63DAF-8483-4772-8E79-3D69D8477DE4 as it is stored.
  public static let linuxType: [UInt8] = [
    0xAF, 0x3D, 0xC6, 0x0F, 0x83, 0x84, 0x72, 0x47, 0x8E, 0x79, 0x3D, 0x69, 0xD8, 0x47, 0x7D, 0xE4,
  ]

  public var sectorSize: Int
  public var sectorCount: UInt64
  public var entryCount: UInt32 = 128
  public var entrySize: UInt32 = 128
  /// By index: the partition's number less one.
  public var entries: [Int: Entry]
  /// Applied to the entry array before its checksum is made.
  public var editEntries: Edit = { _ in }
  /// Applied to the headers before their checksums are made.
  public var editPrimary: Edit = { _ in }
  public var editBackup: Edit = { _ in }
  /// Applied after.
  public var damagePrimary: Edit = { _ in }
  public var damageBackup: Edit = { _ in }
  /// More entries of the MBR, by slot from 1.
  public var hybrid: [Int: MBRBuilder.Entry] = [:]
  public var hasProtectiveMBR = true
  public var content: [(at: UInt64, bytes: [UInt8])] = []

  public init(sectorSize: Int = 512, sectorCount: UInt64 = 4096, entries: [Int: Entry] = [:]) {
    self.sectorSize = sectorSize
    self.sectorCount = sectorCount
    self.entries = entries
  }

  public var size: UInt64 { sectorCount * UInt64(sectorSize) }

  private var arraySectors: UInt64 {
    UInt64((Int(entryCount) * Int(entrySize) + sectorSize - 1) / sectorSize)
  }

  public var firstUsable: UInt64 { 2 + arraySectors }
  public var lastUsable: UInt64 { sectorCount - 2 - arraySectors }

  /// Where everything lies, in bytes.
  public var pieces: [(at: UInt64, bytes: [UInt8])] {
    var array = ImageBytes(count: Int(entryCount) * Int(entrySize))
    for (index, entry) in entries {
      let place = index * Int(entrySize)
      array.put(entry.type, at: place)
      array.put(entry.uuid, at: place + 16)
      array.putLittle(entry.first, at: place + 32)
      array.putLittle(entry.last, at: place + 40)
      array.putLittle(entry.attributes, at: place + 48)
      for (unit, code) in entry.name.enumerated() {
        array.putLittle(code, at: place + 56 + 2 * unit)
      }
    }
    editEntries(&array)
    let last = sectorCount - 1
    var primary = header(at: 1, alternate: last, array: 2, arrayBytes: array.bytes)
    var backup = header(
      at: last, alternate: 1, array: lastUsable + 1, arrayBytes: array.bytes)
    editPrimary(&primary)
    editBackup(&backup)
    seal(&primary)
    seal(&backup)
    damagePrimary(&primary)
    damageBackup(&backup)
    let unit = UInt64(sectorSize)
    var pieces = content
    if hasProtectiveMBR {
      var slots = hybrid
      slots[0] = MBRBuilder.Entry(
        0xEE, start: 1, sectors: UInt32(truncatingIfNeeded: min(last, 0xFFFF_FFFF)))
      pieces.append((0, MBRBuilder.sector(slots)))
    }
    pieces.append((unit, primary.bytes))
    pieces.append((2 * unit, array.bytes))
    pieces.append(((lastUsable + 1) * unit, array.bytes))
    pieces.append((last * unit, backup.bytes))
    return pieces
  }

  private func header(
    at place: UInt64, alternate: UInt64, array: UInt64, arrayBytes: [UInt8]
  ) -> ImageBytes {
    var header = ImageBytes(count: sectorSize)
    header.put("EFI PART", at: 0)
    header.putLittle(0x0001_0000 as UInt32, at: 8)
    header.putLittle(92 as UInt32, at: 12)
    header.putLittle(place, at: 24)
    header.putLittle(alternate, at: 32)
    header.putLittle(firstUsable, at: 40)
    header.putLittle(lastUsable, at: 48)
    header.put(Array(0x10...0x1F), at: 56)
    header.putLittle(array, at: 72)
    header.putLittle(entryCount, at: 80)
    header.putLittle(entrySize, at: 84)
    header.putLittle(Self.crc32(arrayBytes[...]), at: 88)
    return header
  }

  /// What `header(at:)` writes as the disk's GUID, as text.
  public static let diskGUID = "13121110-1514-1716-1819-1a1b1c1d1e1f"

  private func seal(_ header: inout ImageBytes) {
    header.putLittle(0 as UInt32, at: 16)
    let size = header.bytes[12..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
    header.putLittle(Self.crc32(header.bytes.prefix(size)), at: 16)
  }

  /// Bit by bit, unlike the one under test.
  public static func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var crc: UInt32 = .max
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? 0xEDB8_8320 ^ (crc >> 1) : crc >> 1 }
    }
    return ~crc
  }
}
