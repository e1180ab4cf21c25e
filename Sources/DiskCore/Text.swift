/// The text with control characters shown as `\xNN`, so that a name out of an image or a file name
/// can neither break a line nor drive the terminal.
public func printable(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    if scalar.isPrintable {
      result.unicodeScalars.append(scalar)
    } else {
      result += escapedBytes(of: String(scalar))
    }
  }
  return result
}

/// Every byte of the text's UTF-8 as `\xNN`.
public func escapedBytes(of text: String) -> String {
  text.utf8.map { "\\x" + hexadecimal($0) }.joined()
}

/// `value` in lower-case hexadecimal, with zeros in front up to `digits`.
public func hexadecimal(_ value: some BinaryInteger, digits: Int = 2) -> String {
  let text = String(value, radix: 16)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}

extension Unicode.Scalar {
  /// False for what has no glyph of its own: control and format characters (among them those that
  /// turn the direction of text), line separators, surrogates, private and unassigned code points.
  public var isPrintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator:
      false
    default:
      true
    }
  }
}
