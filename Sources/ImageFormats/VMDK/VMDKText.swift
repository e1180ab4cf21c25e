/// Text in a descriptor. Its keys are ASCII; its file names are in whatever encoding the writer's
/// system had, which the descriptor's own word for it does not always tell.
enum VMDKText {
  /// As UTF-8 where it is that, else as Windows-1252, which decodes anything.
  static func decode(_ bytes: ArraySlice<UInt8>) -> String {
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    var text = ""
    for byte in bytes {
      let code =
        (0x80...0x9f).contains(byte) ? windows1252[Int(byte) - 0x80] : UInt32(byte)
      text.unicodeScalars.append(Unicode.Scalar(code) ?? "\u{fffd}")
    }
    return text
  }

  /// What Windows-1252 has at 0x80 to 0x9f (unicode.org, CP1252.TXT); the five codes that it leaves
  /// free stand for themselves.
  private static let windows1252: [UInt32] = [
    0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
    0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f,
    0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
  ]

  static func isBlank(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == 0x0b || byte == 0x0c
  }

  static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var start = bytes.startIndex
    var end = bytes.endIndex
    while start < end, isBlank(bytes[start]) { start += 1 }
    while end > start, isBlank(bytes[end - 1]) { end -= 1 }
    return bytes[start..<end]
  }
}

/// The lines of a text, whatever ends them, up to its first NUL: an embedded descriptor is padded
/// with NULs.
struct VMDKLines: Sequence, IteratorProtocol {
  private let bytes: [UInt8]
  private var place: Int

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    // A byte order mark, which editors put there.
    place = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
  }

  /// Without blanks at its ends. A line break of two bytes gives an empty line more.
  mutating func next() -> ArraySlice<UInt8>? {
    guard place < bytes.count, bytes[place] != 0 else { return nil }
    let rest = bytes[place...]
    let end = rest.firstIndex { $0 == 0x0a || $0 == 0x0d || $0 == 0 } ?? rest.endIndex
    place = end < bytes.count && bytes[end] != 0 ? end + 1 : end
    return VMDKText.trimmed(rest[..<end])
  }
}
