internal import DiskCore

/// File names made of labels and partition names, which anybody can write into an image.
public enum EntryName {
  /// In bytes: of the 255 that Linux takes, some are kept for telling equal names apart.
  static let longest = 240

  /// `label` as a file name, escaped as udev escapes it in /dev/disk/by-label: letters, digits,
  /// `#+-.:=@_` and printable characters beyond ASCII stand as they are; all else becomes `\xNN`,
  /// byte by byte. Nil where nothing is left to name a file with.
  ///
  /// Stricter than udev in three places, so that the name is safe to list and to type: characters
  /// beyond ASCII that do not print are escaped, `.` and `..` are, and names end at 240 bytes.
  public static func escaping(_ label: String) -> String? {
    var name = ""
    for scalar in label.unicodeScalars {
      let piece = isPlain(scalar) ? String(scalar) : escapedBytes(of: String(scalar))
      guard name.utf8.count + piece.utf8.count <= longest else { break }
      name += piece
    }
    if name == "." || name == ".." { return escapedBytes(of: name) }
    return name.isEmpty ? nil : name
  }

  private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII {
      return scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
        || "#+-.:=@_".unicodeScalars.contains(scalar)
    }
    return scalar.isPrintable && scalar.properties.generalCategory != .spaceSeparator
  }
}
