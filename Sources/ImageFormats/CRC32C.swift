internal import DiskCore

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), eight bytes at a step.
struct CRC32C {
  /// Table `k` gives what a byte is worth that `k` more bytes follow.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var value = UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0x82f6_3b78 : value >> 1 }
      tables[byte] = value
    }
    for place in 256..<8 * 256 {
      let shorter = tables[place - 256]
      tables[place] = (shorter >> 8) ^ tables[Int(shorter & 0xff)]
    }
    return tables
  }()

  private var state: UInt32 = 0xffff_ffff

  var value: UInt32 { ~state }

  mutating func update(_ bytes: ArraySlice<UInt8>) {
    let tables = Self.tables.span
    let bytes = bytes.span
    var crc = state
    var place = 0
    while bytes.count - place >= 8 {
      crc ^=
        UInt32(bytes[place]) | UInt32(bytes[place + 1]) << 8 | UInt32(bytes[place + 2]) << 16
        | UInt32(bytes[place + 3]) << 24
      let near =
        tables[0x700 + Int(crc & 0xff)] ^ tables[0x600 + Int(crc >> 8 & 0xff)]
        ^ tables[0x500 + Int(crc >> 16 & 0xff)] ^ tables[0x400 + Int(crc >> 24)]
      let far =
        tables[0x300 + Int(bytes[place + 4])] ^ tables[0x200 + Int(bytes[place + 5])]
        ^ tables[0x100 + Int(bytes[place + 6])] ^ tables[Int(bytes[place + 7])]
      crc = near ^ far
      place += 8
    }
    while place < bytes.count {
      crc = (crc >> 8) ^ tables[Int((crc ^ UInt32(bytes[place])) & 0xff)]
      place += 1
    }
    state = crc
  }

  /// Of a structure that holds its own checksum, taken as zero, in the four bytes at `field`.
  static func of(_ bytes: [UInt8], fieldAt field: Int) -> UInt32 {
    guard field >= 0, field + 4 <= bytes.count else { return 0 }
    var crc = CRC32C()
    crc.update(bytes[..<field])
    crc.update([0, 0, 0, 0])
    crc.update(bytes[(field + 4)...])
    return crc.value
  }
}

extension CRC32C: RunningChecksum {
  mutating func add(_ bytes: RawSpan) {
    let copy = unsafe bytes.withUnsafeBytes { bytes in unsafe Array(bytes) }
    update(copy[...])
  }
}
