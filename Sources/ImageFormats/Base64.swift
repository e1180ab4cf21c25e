/// Base64 (RFC 4648, section 4) as it stands in property lists: with line breaks and indentation.
enum Base64 {
  private static let ignored: UInt8 = 0xfe
  private static let end: UInt8 = 0xfd
  private static let bad: UInt8 = 0xff

  /// The six bits of each character, or one of the above.
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: bad, count: 256)
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (value, character) in alphabet.utf8.enumerated() { values[Int(character)] = UInt8(value) }
    for space in " \t\r\n".utf8 { values[Int(space)] = ignored }
    values[Int(UInt8(ascii: "="))] = end
    return values
  }()

  /// Nil where there is a character that does not belong there.
  static func decoded(_ text: String) -> [UInt8]? {
    let values = Self.values
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count / 4 * 3)
    var bits: UInt32 = 0
    var held = 0
    var hasEnded = false
    for character in text.utf8 {
      let value = values[Int(character)]
      switch value {
      case ignored: continue
      case end: hasEnded = true
      case bad: return nil
      default:
        if hasEnded { return nil }
        bits = bits << 6 | UInt32(value)
        held += 6
        if held >= 8 {
          held -= 8
          bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(held)))
        }
      }
    }
    return bytes
  }
}
