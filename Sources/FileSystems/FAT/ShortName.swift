/// A name of eight characters and three, as DOS has it.
enum ShortName {
  /// In the name's first byte: stands for 0xE5, which marks deleted entries.
  private static let escapedE5: UInt8 = 0x05
  private static let lowerName: UInt8 = 0x08
  private static let lowerExtension: UInt8 = 0x10

  /// As `mount -t vfat` shows it: `README.TXT`, or `readme.txt` where Windows NT marked it so.
  static func text(of entry: FATEntry, _ codePage: OEMCodePage.Reader) -> FileName {
    var bytes = entry.shortName
    if bytes.first == escapedE5 { bytes[0] = 0xE5 }
    var text = part(bytes.prefix(8), isLower: entry.lowerCase & lowerName != 0, codePage)
    let ending = part(bytes.dropFirst(8), isLower: entry.lowerCase & lowerExtension != 0, codePage)
    if !ending.isEmpty {
      text.append(".")
      text += ending
    }
    return FileName(String(text))
  }

  private static func part(
    _ bytes: ArraySlice<UInt8>, isLower: Bool, _ codePage: OEMCodePage.Reader
  ) -> String.UnicodeScalarView {
    var bytes = bytes
    while bytes.last == 0x20 { bytes.removeLast() }
    var text = String.UnicodeScalarView()
    for scalar in codePage.text(of: bytes) {
      text.append(isLower ? UpperCase.lower(scalar) : scalar)
    }
    return text
  }
}
