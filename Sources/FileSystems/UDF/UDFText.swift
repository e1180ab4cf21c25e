internal import DiskCore

/// OSTA Compressed Unicode (UDF 2.60, 2.1.1): a byte that says how many bits a character has, then the
/// characters.
enum UDFText {
  /// The text in UTF-8, lone surrogates replaced. Text of an unknown form is taken byte by byte.
  static func utf8(_ stored: ArraySlice<UInt8>) -> [UInt8] {
    guard let form = stored.first else { return [] }
    let characters = stored.dropFirst()
    switch form {
    // 254 and 255: as 8 and 16, in a name that was deleted.
    case 8, 254:
      if characters.allSatisfy({ $0 < 0x80 }) { return Array(characters) }
      return Array(String(decoding: characters.map { UInt16($0) }, as: UTF16.self).utf8)
    case 16, 255:
      let bytes = Array(characters)
      let units = stride(from: 0, to: bytes.count & ~1, by: 2).map {
        UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1])
      }
      return Array(String(decoding: units, as: UTF16.self).utf8)
    default:
      return Array(stored)
    }
  }
}
