internal import DiskCore

/// A long name in the making: it stands in up to twenty entries before the short one, last part first
/// (Microsoft, "FAT: General Overview of On-Disk Format", pages 27 to 29).
struct LongName {
  private static let mostParts = 20
  /// Set in the number of the last part, which is stored first.
  private static let isLast: UInt8 = 0x40
  /// Where in an entry its 13 characters are.
  private static let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]

  /// As stored: the last part first.
  private var parts: [[UInt16]] = []
  /// The number of the next part; 0 when all are there.
  private var next = 0
  private var checksum: UInt8 = 0

  /// Forgets the parts: what follows has nothing to do with them.
  mutating func reset() {
    parts = []
    next = 0
  }

  /// Takes one part; one that does not continue those before it ends them.
  mutating func take(_ reader: ByteReader, at place: Int) throws(DiskError) {
    let order = try reader.u8(at: place)
    let number = Int(order & ~Self.isLast)
    let checksum = try reader.u8(at: place + 13)
    if order & Self.isLast != 0, (1...Self.mostParts).contains(number) {
      parts = []
      self.checksum = checksum
    } else if parts.isEmpty || number == 0 || number != next || checksum != self.checksum {
      return reset()
    }
    var units: [UInt16] = []
    for at in Self.places { units.append(try reader.u16(at: place + at)) }
    parts.append(units)
    next = number - 1
  }

  /// The name that belongs to a short one; nil where there is none or it is not whole. Starts anew.
  mutating func name(for shortName: [UInt8]) -> FileName? {
    defer { reset() }
    guard !parts.isEmpty, next == 0, checksum == Self.checksum(of: shortName) else { return nil }
    let units = parts.reversed().joined().prefix { $0 != 0 }
    return units.isEmpty ? nil : FileName(String(decoding: Array(units), as: UTF16.self))
  }

  /// By which parts of a long name know their short one.
  static func checksum(of shortName: [UInt8]) -> UInt8 {
    shortName.reduce(0) { sum, byte in (sum >> 1 | sum << 7) &+ byte }
  }
}
