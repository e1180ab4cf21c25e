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

/// The text as one word of a command that a person can copy, whatever it holds: a file's name can
/// have quotes and `$(…)` in it. Control characters make it a `$'…'` word, which bash, zsh and ksh
/// know.
public func shellWord(_ text: String) -> String {
  let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%".utf8)
  if !text.isEmpty, text.utf8.allSatisfy(plain.contains) { return text }
  guard text.unicodeScalars.allSatisfy(\.isPrintable) else {
    var word = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\", "'": word += "\\\(scalar)"
      // Three octal digits end by themselves, where a hexadecimal digit would go on.
      case _ where !scalar.isPrintable:
        for byte in String(scalar).utf8 { word += "\\" + octal(byte) }
      default: word.unicodeScalars.append(scalar)
      }
    }
    return "$'\(word)'"
  }
  var word = "'"
  for scalar in text.unicodeScalars {
    if scalar == "'" { word += "'\\''" } else { word.unicodeScalars.append(scalar) }
  }
  return word + "'"
}

private func octal(_ byte: UInt8) -> String {
  let digits = String(byte, radix: 8)
  return String(repeating: "0", count: 3 - digits.count) + digits
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
