/// Compressed streams put together by hand, without a compressor.
public enum CompressedBytes {
  /// A deflate stream (RFC 1951, section 3.2.4) of stored blocks.
  public static func deflate(_ bytes: [UInt8]) -> [UInt8] {
    var result = ImageBytes(count: 0)
    var place = 0
    repeat {
      let count = min(bytes.count - place, 0xFFFF)
      result.put([place + count == bytes.count ? 1 : 0], at: result.count)
      result.putLittle(UInt16(count), at: result.count)
      result.putLittle(~UInt16(count), at: result.count)
      result.put(Array(bytes[place..<place + count]), at: result.count)
      place += count
    } while place < bytes.count
    return result.bytes
  }

  /// A Zstandard frame (RFC 8878, section 3.1.1) of raw blocks, whose size is in its header.
  public static func zstd(_ bytes: [UInt8]) -> [UInt8] {
    var result = ImageBytes([0x28, 0xB5, 0x2F, 0xFD, 0xA0])
    result.putLittle(UInt32(bytes.count), at: result.count)
    var place = 0
    repeat {
      let count = min(bytes.count - place, 1 << 17)
      let header = UInt32(count) << 3 | (place + count == bytes.count ? 1 : 0)
      result.put((0..<3).map { UInt8(truncatingIfNeeded: header >> (8 * $0)) }, at: result.count)
      result.put(Array(bytes[place..<place + count]), at: result.count)
      place += count
    } while place < bytes.count
    return result.bytes
  }

  /// A deflate stream that is shorter than `bytes`: the first `stored` of them in a stored block, then
  /// the rest, which must be zeros, by fixed codes: a literal and
  /// matches of 258 and less at distance 1 (RFC 1951, section 3.2.5 and 3.2.6).
  public static func deflate(_ bytes: [UInt8], zerosAfter stored: Int) -> [UInt8] {
    var result = deflate(Array(bytes[..<stored]))
    result[0] = 0
    var bits: [Bool] = []
    func put(_ value: Int, _ count: Int) {
      for bit in 0..<count { bits.append(value >> bit & 1 == 1) }
    }
    func code(_ value: Int, _ count: Int) {
      for bit in (0..<count).reversed() { bits.append(value >> bit & 1 == 1) }
    }
    put(1, 1)
    put(1, 2)
    var left = bytes.count - stored
    func literal() {
      code(0x30, 8)
      left -= 1
    }
    literal()
    while left > 0 {
      guard left >= 258 else {
        literal()
        continue
      }
      code(0xC5, 8)  // 285: 258 bytes
      code(0, 5)  // distance 1
      left -= 258
    }
    code(0, 7)
    while bits.count % 8 != 0 { bits.append(false) }
    for start in stride(from: 0, to: bits.count, by: 8) {
      result.append((0..<8).reduce(0) { $0 | (bits[start + $1] ? 1 << $1 : 0) })
    }
    return result
  }

  /// An LZ4 block (lz4's doc/lz4_Block_format.md) of literals only.
  public static func lz4(_ bytes: [UInt8]) -> [UInt8] {
    var result = [UInt8(min(bytes.count, 15) << 4)]
    if bytes.count >= 15 {
      var left = bytes.count - 15
      while left >= 255 {
        result.append(255)
        left -= 255
      }
      result.append(UInt8(left))
    }
    return result + bytes
  }

  /// Apple Data Compression of literals only.
  public static func adc(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(128)
      rest = rest.dropFirst(128)
      result.append(0x80 | UInt8(piece.count - 1))
      result += piece
    }
    return result
  }

  /// What compressors make of 512 letters A.
  public enum Of512A {
    public static let deflate: [UInt8] = [0x73, 0x74, 0x1C, 0x05, 0x23, 0x19, 0x00, 0x00]
    /// One literal, 506 bytes from one byte back, five literals.
    public static let lz4: [UInt8] = [
      0x1F, 0x41, 0x01, 0x00, 0xFF, 0xE8, 0x50, 0x41, 0x41, 0x41, 0x41, 0x41,
    ]
    /// One literal, seven times 67 bytes and once 42 from one byte back.
    public static let adc: [UInt8] =
      [0x80, 0x41] + (0..<7).flatMap { _ in [0x7F, 0x00, 0x00] as [UInt8] } + [0x66, 0x00, 0x00]
    public static let zlib: [UInt8] = [0x78, 0xDA] + deflate + [0x4A, 0x9E, 0x82, 0x01]
    public static let bzip2: [UInt8] = [
      0x42, 0x5A, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0x84, 0x65, 0xD5, 0x03, 0x00,
      0x00, 0x01, 0x84, 0x00, 0xA0, 0x00, 0x00, 0x08, 0x20, 0x00, 0x30, 0x80, 0x49, 0xEA, 0x06,
      0xAE, 0x2E, 0xE4, 0x8A, 0x70, 0xA1, 0x21, 0x08, 0xCB, 0xAA, 0x06,
    ]
    public static let xz: [UInt8] = [
      0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00, 0x01, 0x69, 0x22, 0xDE, 0x36, 0x02, 0x00, 0x21,
      0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2F, 0xE5, 0xA3, 0xE0, 0x01, 0xFF, 0x00, 0x08, 0x5D,
      0x00, 0x20, 0xEF, 0xFB, 0xBE, 0xB2, 0x5B, 0xB0, 0x00, 0x00, 0xF4, 0x1F, 0x12, 0x66, 0x00,
      0x01, 0x20, 0x80, 0x04, 0x00, 0x00, 0x00, 0x2E, 0xF6, 0x7D, 0xFA, 0x3E, 0x30, 0x0D, 0x8B,
      0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5A,
    ]
  }
}
