/// The blocks of bzip2 streams, which begin at any bit, and each of which can be decoded alone once it is
/// put into a stream of its own.
///
/// Source: what bzip2's manual and many decoders agree on; there is no specification.
public enum Bzip2Bits {
  /// 48 bits, the digits of π.
  public static let blockMagic: UInt64 = 0x3141_5926_5359
  /// 48 bits, the digits of √π.
  public static let endMagic: UInt64 = 0x1772_4538_5090
  public static let magicBits = 48

  /// The `count` bits, at most 57, from bit `place` on, the highest first; nil where they are not
  /// there.
  public static func number(at place: Int, _ count: Int, in bytes: [UInt8]) -> UInt64? {
    guard place >= 0, place + count <= bytes.count * 8 else { return nil }
    guard count > 0 else { return 0 }
    var value: UInt64 = 0
    for index in place / 8...(place + count - 1) / 8 { value = value << 8 | UInt64(bytes[index]) }
    let behind = (8 - (place + count) % 8) % 8
    return value >> UInt64(behind) & (1 << UInt64(count) - 1)
  }

  /// For each byte whether it can be the third of a magic, at any shift.
  private static let canBeThird: [Bool] = {
    var table = [Bool](repeating: false, count: 256)
    for magic in [blockMagic, endMagic] {
      for shift in 0..<8 { table[Int(magic >> UInt64(24 + shift) & 0xff)] = true }
    }
    return table
  }()

  /// Where the next magic of either kind begins, at or after bit `start`; nil where there is none.
  public static func nextMagic(in bytes: [UInt8], from start: Int) -> Int? {
    // Half of the time that bzip2 takes goes here if each byte's bounds are checked.
    unsafe bytes.withUnsafeBufferPointer { all in
      unsafe canBeThird.withUnsafeBufferPointer { table in
        // A magic at bit b has all of byte b/8+2 in it, and reaches into byte b/8+6 at most.
        var third = start / 8 + 2
        while third + 4 <= all.count {
          if unsafe table[Int(all[third])],
            let found = unsafe magic(within: all[(third - 2)..<min(third + 5, all.count)])
          {
            let place = (third - 2) * 8 + found
            if place >= start { return place }
          }
          third += 1
        }
        return nil
      }
    }
  }

  /// At which shift, 0 to 7, one of the magics begins in up to seven bytes.
  private static func magic(within bytes: Slice<UnsafeBufferPointer<UInt8>>) -> Int? {
    var value: UInt64 = 0
    for index in unsafe bytes.indices { value = value << 8 | UInt64(unsafe bytes[index]) }
    let there = unsafe bytes.count * 8
    for shift in 0..<8 where there - shift >= magicBits {
      let bits = value >> UInt64(there - shift - magicBits) & (1 << UInt64(magicBits) - 1)
      if bits == blockMagic || bits == endMagic { return shift }
    }
    return nil
  }

  /// A stream of the one block that is in these bits.
  ///
  /// - Parameters:
  ///   - level: of its own stream: the block's size in 100 kB, 1 to 9.
  ///   - checksum: the block's.
  public static func stream(
    of bits: Range<Int>, in bytes: [UInt8], level: UInt8, checksum: UInt32
  ) -> [UInt8] {
    var result = Array("BZh".utf8) + [UInt8(ascii: "0") + level]
    result.reserveCapacity(bits.count / 8 + 20)
    let shift = UInt8(bits.lowerBound % 8)
    let whole = bits.count / 8
    let first = bits.lowerBound / 8
    unsafe bytes.withUnsafeBufferPointer { all in
      unsafe result.append(
        contentsOf: [UInt8](unsafeUninitializedCapacity: whole) { target, count in
          for index in 0..<whole {
            // Behind the last bit is a magic, so there is a next byte.
            let pair: UInt16 =
              unsafe UInt16(all[first + index]) << 8
              | UInt16(all[min(first + index + 1, all.count - 1)])
            unsafe target[index] = UInt8(truncatingIfNeeded: (pair << UInt16(shift)) >> 8)
          }
          count = whole
        })
    }
    // The bits that are left, and the stream's end behind them: its checksum is that of its only block.
    var pending = number(at: bits.lowerBound + whole * 8, bits.count % 8, in: bytes) ?? 0
    var count = bits.count % 8
    func append(_ value: UInt64, _ width: Int) {
      pending = pending << UInt64(width) | value
      count += width
      while count >= 8 {
        result.append(UInt8(truncatingIfNeeded: pending >> UInt64(count - 8)))
        count -= 8
      }
    }
    append(endMagic, magicBits)
    append(UInt64(checksum), 32)
    append(0, 7)
    return result
  }
}
