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
}
