internal import DiskCore

/// What every descriptor starts with (ECMA-167, 3/7.2 and 4/7.2).
struct UDFTag {
  /// In bytes.
  static let length = 16

  /// Which descriptor it is. UDF's own structures, as the sparing table, have 0.
  enum Kind {
    static let primaryVolume: UInt16 = 1
    static let anchor: UInt16 = 2
    static let volumePointer: UInt16 = 3
    static let partition: UInt16 = 5
    static let logicalVolume: UInt16 = 6
    static let terminating: UInt16 = 8
    static let fileSet: UInt16 = 256
    static let fileIdentifier: UInt16 = 257
    static let allocationExtent: UInt16 = 258
    static let indirectEntry: UInt16 = 259
    static let terminalEntry: UInt16 = 260
    static let fileEntry: UInt16 = 261
    static let attributeHeader: UInt16 = 262
    static let extendedFileEntry: UInt16 = 266
  }

  let kind: UInt16
  /// The block that the descriptor says it is in.
  let location: UInt32
  private let checksum: UInt16
  /// How many of the bytes behind the tag the checksum is of.
  private let covered: Int

  /// - Returns: nil where no tag stands at `offset`, by its own checksum.
  init?(_ reader: ByteReader, at offset: Int = 0) {
    guard let bytes = try? reader.slice(at: offset, count: Self.length) else { return nil }
    let tag = Array(bytes)
    var sum: UInt8 = 0
    for (index, byte) in tag.enumerated() where index != 4 { sum &+= byte }
    guard sum == tag[4], tag.contains(where: { $0 != 0 }) else { return nil }
    kind = UInt16(tag[0]) | UInt16(tag[1]) << 8
    location = (0..<4).reduce(0) { $0 | UInt32(tag[12 + $1]) << UInt32(8 * $1) }
    checksum = UInt16(tag[8]) | UInt16(tag[9]) << 8
    covered = Int(tag[10]) | Int(tag[11]) << 8
  }

  /// Whether what follows the tag at `offset` is what was written. Some writers leave the checksum out, or
  /// make it of less than they say.
  func covers(_ reader: ByteReader, at offset: Int = 0) -> Bool {
    guard let content = try? reader.slice(at: offset + Self.length, count: covered) else {
      return false
    }
    return Self.checksum(content) == checksum
  }

  /// CRC of 16 bits with the polynomial 0x1021, the highest bit first, from 0 on (ECMA-167, 1/7.2.6).
  static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt16 {
    var value: UInt16 = 0
    for byte in bytes { value = value << 8 ^ remainders[Int(value >> 8) ^ Int(byte)] }
    return value
  }

  private static let remainders: [UInt16] = (0..<256).map { index in
    var value = UInt16(index) << 8
    for _ in 0..<8 { value = value & 0x8000 != 0 ? value << 1 ^ 0x1021 : value << 1 }
    return value
  }
}
