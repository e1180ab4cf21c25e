internal import DiskCore

extension FileSystemSignature {
  /// A physical volume of LVM2: a label in one of the first four sectors of 512 bytes, which says
  /// in which (lvm2's format_text/layout.h).
  static func lvm2(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    for sector in 0..<4 {
      let label = try source.reader(at: UInt64(sector) * 512, count: 64)
      guard label.matches("LABELONE", at: 0), label.matches("LVM2 001", at: 24),
        try label.u64(at: 8) == UInt64(sector)
      else { continue }
      let identifier = try label.text(at: 32, count: 32)
      return FileSystemSignature(type: "LVM2_member", uuid: dashed(identifier))
    }
    return nil
  }

  /// 32 letters and digits in LVM's groups of 6, 4, 4, 4, 4, 4 and 6; nil for anything else.
  private static func dashed(_ identifier: String) -> String? {
    let characters = Array(identifier.utf8)
    guard characters.count == 32, characters.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      return nil
    }
    var text = ""
    for (index, character) in characters.enumerated() {
      if [6, 10, 14, 18, 22, 26].contains(index) { text += "-" }
      text.unicodeScalars.append(Unicode.Scalar(character))
    }
    return text
  }
}
