/// Upper case one to one, as file systems compare names: a character that shares its upper case with
/// another one (`ı` and `i`, `ſ` and `s`) stays, so that names which a folder tells apart stay apart.
enum UpperCase {
  static func of(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
    if scalar.isASCII {
      return ("a"..."z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) - 0x20) : scalar
    }
    // Beyond 16 bits Windows knows no case.
    guard scalar.value <= 0xFFFF, let upper = only(scalar.properties.uppercaseMapping),
      only(upper.properties.lowercaseMapping) == scalar
    else { return scalar }
    return upper
  }

  static func of(_ name: FileName) -> FileName {
    if name.bytes.allSatisfy({ $0 < 0x80 }) {
      return FileName(name.bytes.map { (0x61...0x7A).contains($0) ? $0 - 0x20 : $0 })
    }
    var text = String.UnicodeScalarView()
    for scalar in name.text.unicodeScalars { text.append(of(scalar)) }
    return FileName(String(text))
  }

  /// The other way, for short names that Windows NT marked as lower case.
  static func lower(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
    only(scalar.properties.lowercaseMapping) ?? scalar
  }

  private static func only(_ text: String) -> Unicode.Scalar? {
    let scalars = text.unicodeScalars
    return scalars.count == 1 ? scalars.first : nil
  }
}
