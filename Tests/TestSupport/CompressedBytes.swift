/// Compressed streams put together by hand, that only store: what decodes them cannot tell.
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
}
