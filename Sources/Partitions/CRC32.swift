internal import DiskCore

/// CRC-32/ISO-HDLC, as UEFI 2.10 section 5.3.2 asks of GPT headers and entry arrays: polynomial
/// 0x04C11DB7 reflected, starting from and finished with all ones.
struct CRC32: Sendable {
  private var state: UInt32 = .max

  static func of(_ bytes: [UInt8]) -> UInt32 {
    var crc = CRC32()
    crc.add(bytes[...])
    return crc.value
  }

  mutating func add(_ bytes: ArraySlice<UInt8>) {
    let table = Self.table
    var state = state
    for byte in bytes {
      state = table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ (state >> 8)
    }
    self.state = state
  }

  var value: UInt32 { ~state }

  /// The remainder of each byte.
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { rest, _ in
      rest & 1 == 1 ? 0xEDB8_8320 ^ (rest >> 1) : rest >> 1
    }
  }
}
