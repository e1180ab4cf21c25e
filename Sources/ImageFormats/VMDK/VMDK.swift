internal import DiskCore

/// What all kinds of VMDK files have in common.
enum VMDK {
  /// Everything is counted in sectors of 512 bytes.
  static let sectorBytes: UInt64 = 512

  /// How a sparse extent's file starts.
  enum Magic: Sendable {
    /// Hosted sparse and stream-optimized extents (Virtual Disk Format 5.0, "Hosted Sparse Extents").
    case hosted
    /// ESX Server sparse extents, `vmfsSparse`.
    case copyOnWrite
    /// Space-efficient sparse extents, `seSparse`.
    case spaceEfficient

    init?(_ head: ByteReader) {
      if head.matches("KDMV", at: 0) {
        self = .hosted
      } else if head.matches("COWD", at: 0) {
        self = .copyOnWrite
      } else if head.matches([0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0], at: 0) {
        self = .spaceEfficient
      } else {
        return nil
      }
    }
  }

  /// Whether a text starts as a descriptor: behind comments and empty lines the signature, or, as QEMU
  /// takes it, `version=` with a `createType` behind.
  static func isDescriptor(_ head: ByteReader) -> Bool {
    for line in VMDKLines(head.bytes) where !line.isEmpty {
      let text = VMDKText.decode(line).lowercased()
      guard text.first == "#" else {
        return text.hasPrefix("version=") && hasCreateType(head)
      }
      let words = text.dropFirst().split(whereSeparator: { $0 == " " || $0 == "\t" })
      if words.starts(with: ["disk", "descriptorfile"]) { return true }
    }
    return false
  }

  private static func hasCreateType(_ head: ByteReader) -> Bool {
    VMDKLines(head.bytes).contains {
      VMDKText.decode($0.prefix(10)).lowercased() == "createtype"
    }
  }

  /// `count` sectors in bytes.
  ///
  /// - Throws: `malformed` where no file is as large as that.
  static func bytes(
    _ count: UInt64, _ what: String, in header: ByteReader, at field: Int
  ) throws(DiskError) -> UInt64 {
    guard count <= Limits.largestDisk / sectorBytes else {
      throw DiskError(
        .malformed, "\(what) of \(count) sectors", path: header.path,
        offset: header.base + UInt64(field))
    }
    return count * sectorBytes
  }
}
