internal import DiskCore

extension FileSystemSignature {
  /// ISO 9660, with Joliet's label where there is one (ECMA-119, section 8; Joliet Specification,
  /// section 3). Volume descriptors stand one in each 2,048-byte sector from 32 KiB on.
  static func iso9660(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    var primary: ByteReader? = nil
    var joliet: ByteReader? = nil
    for index in 0..<mostDescriptors {
      guard let descriptor = try? source.reader(at: 0x8000 + 2048 * UInt64(index), count: 2048),
        descriptor.matches("CD001", at: 1)
      else { break }
      let type = try descriptor.u8(at: 0)
      if type == 255 { break }
      if type == 1, primary == nil { primary = descriptor }
      // The three levels of Joliet's escape sequence.
      let isJoliet = ["%/@", "%/C", "%/E"].contains(try descriptor.text(at: 88, count: 3))
      if type == 2, joliet == nil, isJoliet { joliet = descriptor }
    }
    guard let primary, isPowerOfTwo(try primary.u16(at: 128)) else { return nil }
    var label: String? = nil
    if let joliet { label = try jolietLabel(joliet, primary) }
    if label == nil { label = try primary.label(at: 40, count: 32) }
    var date = try dateIdentifier(primary, at: 830)
    if date == nil { date = try dateIdentifier(primary, at: 813) }
    return FileSystemSignature(type: "iso9660", label: label, uuid: date)
  }

  /// Discs have a handful of descriptors; `blkid` stops at as many.
  private static let mostDescriptors = 16

  /// A date and time of 16 digits and a time zone as `2024-01-31-23-59-59-00`: modified at 830,
  /// created at 813. Nil where none was written, which is 16 times the digit 0 and zone 0.
  private static func dateIdentifier(
    _ descriptor: ByteReader, at offset: Int
  ) throws(DiskError) -> String? {
    let digits = Array(try descriptor.slice(at: offset, count: 16))
    guard digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    if digits.allSatisfy({ $0 == 0x30 }), try descriptor.u8(at: offset + 16) == 0 { return nil }
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index >= 4, index % 2 == 0 { text += "-" }
      text.unicodeScalars.append(Unicode.Scalar(digit))
    }
    return text
  }

  /// Joliet has 16 characters of Unicode for the label, the primary descriptor 32 of a part of
  /// ASCII with `_` for the rest. Where the first is a beginning of the second, what it lacks is
  /// taken from there.
  private static func jolietLabel(
    _ joliet: ByteReader, _ primary: ByteReader
  ) throws(DiskError) -> String? {
    let plain = Array(try primary.slice(at: 40, count: 32))
    var units: [UInt16] = []
    for index in 0..<16 { units.append(try joliet.u16(at: 40 + 2 * index, .big)) }
    guard let merged = merged(units, plain) else {
      return try joliet.label(at: 40, utf16Units: 16, .big)
    }
    return labelText(String(decoding: merged.prefix { $0 != 0 }, as: UTF16.self))
  }

  /// Nil where the two differ by more than case and `_`.
  private static func merged(_ unicode: [UInt16], _ ascii: [UInt8]) -> [UInt16]? {
    var result: [UInt16] = []
    var index = 0
    for byte in ascii {
      guard index < unicode.count else {
        result.append(UInt16(byte))
        continue
      }
      var unit = unicode[index]
      index += 1
      // The primary descriptor has one `_` for a character that takes two units.
      if (0xD800...0xDBFF).contains(unit), index < unicode.count,
        (0xDC00...0xDFFF).contains(unicode[index])
      {
        result.append(unit)
        unit = unicode[index]
        index += 1
      }
      if byte == UInt8(ascii: "_") {
        result.append(unit)
      } else if unit == UInt16(UInt8(ascii: "_")) {
        result.append(UInt16(byte))
      } else if UInt8(exactly: unit).map(upperCase) == upperCase(byte) {
        result.append((0x41...0x5A).contains(byte) ? unit : UInt16(byte))
      } else {
        return nil
      }
    }
    return result
  }

  private static func upperCase(_ byte: UInt8) -> UInt8 {
    (0x61...0x7A).contains(byte) ? byte - 0x20 : byte
  }
}
