internal import DiskCore

extension FileSystemSignature {
  /// A LUKS container, version 1 or 2 (LUKS2 On-Disk Format Specification, section 2.1; version 1
  /// has its UUID in the same place and no label).
  static func luks(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let header = try source.reader(at: 0, count: 512)
    guard header.matches([0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE], at: 0) else { return nil }
    let uuid = try header.label(at: 168, count: 40)
    switch try header.u16(at: 6, .big) {
    case 1:
      return FileSystemSignature(type: "crypto_LUKS", uuid: uuid)
    case 2:
      // The header says where it belongs: the one at the start, not a stray copy.
      guard try header.u64(at: 256, .big) == 0 else { return nil }
      return FileSystemSignature(
        type: "crypto_LUKS", label: try header.label(at: 24, count: 48), uuid: uuid)
    default:
      return nil
    }
  }
}
