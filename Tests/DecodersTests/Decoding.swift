import Decoders

/// What `decode` gives for `input` in `room` bytes.
func decoded(
  _ input: [UInt8], room: Int,
  by decode: (RawSpan, inout MutableRawSpan) throws(DecodingFailure) -> Int
) throws(DecodingFailure) -> [UInt8] {
  var output = [UInt8](repeating: 0xEE, count: room)
  let count: Int
  do {
    var elements = output.mutableSpan
    var buffer = elements.mutableBytes
    count = try decode(input.span.bytes, &buffer)
  }
  return Array(output.prefix(count))
}

/// Bits as DEFLATE packs them: from the low end of each byte (RFC 1951, section 3.1.1).
struct DeflateBits {
  private(set) var bytes: [UInt8] = []
  private var free = 0

  /// A number: its low bit first.
  mutating func put(_ value: Int, _ width: Int) {
    for bit in 0..<width {
      if free == 0 {
        bytes.append(0)
        free = 8
      }
      bytes[bytes.count - 1] |= UInt8(value >> bit & 1) << UInt8(8 - free)
      free -= 1
    }
  }

  /// A Huffman code: its high bit first.
  mutating func code(_ value: Int, _ width: Int) {
    for bit in (0..<width).reversed() { put(value >> bit & 1, 1) }
  }

  /// With the fixed codes of section 3.2.6.
  mutating func literal(_ byte: UInt8) { code(0x30 + Int(byte), 8) }
  /// 258 bytes again, from one byte before.
  mutating func longestRunOfTheLastByte() {
    code(0b1100_0101, 8)
    code(0, 5)
  }
  mutating func endOfBlock() { code(0, 7) }
}
