/// Formats that are known by their first or last bytes but not read yet, so that such an image is
/// named instead of being shown as a raw disk full of noise.
///
/// A format that gains a driver leaves this list.
enum UnreadFormat {
  private struct Signature {
    let name: String
    let bytes: [UInt8]
    let offset: Int
  }

  private static func signature(
    _ name: String, _ bytes: [UInt8], at offset: Int = 0
  ) -> Signature {
    Signature(name: name, bytes: bytes, offset: offset)
  }

  private static func signature(
    _ name: String, _ text: String, at offset: Int = 0
  ) -> Signature {
    Signature(name: name, bytes: Array(text.utf8), offset: offset)
  }

  /// Encrypted in version 2 with a header, in version 1 with a trailer.
  private static let encryptedDMG = "an encrypted DMG image"

  /// From each format's own specification; the compressed ones from RFC 1952, the xz file format
  /// 1.2, RFC 8878, and the bzip2 and LZ4 frame descriptions.
  private static let heads: [Signature] = [
    signature("a cloop image of version 4", "#!/bin/sh\n#V4.0"),
    signature("a CHD image", "MComprHD"),
    signature(encryptedDMG, "encrcdsa"),
    signature("a growing DMG (.sparseimage)", "sprs"),
    signature("an EWF (E01) image", [0x45, 0x56, 0x46, 0x09, 0x0d, 0x0a, 0xff, 0]),
    signature("a 7z archive", [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]),
  ]

  static func name(of sample: ImageSample) -> String? {
    if sample.tail.matches("cdsaencr", at: sample.tail.count - 8) { return encryptedDMG }
    return heads.first { sample.head.matches($0.bytes, at: $0.offset) }?.name
  }
}
