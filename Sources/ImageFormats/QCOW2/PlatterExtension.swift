internal import DiskCore

/// The header extension that Platter's overlays have, as far as reading needs it (docs/OVERLAYS.md,
/// "The private extension"). The rest of it is the module `Overlays`' own.
public struct PlatterExtension: Sendable {
  /// "Plat".
  public static let type: UInt32 = 0x506c_6174
  /// Of its layout.
  public static let version: UInt32 = 1
  /// Where in its data the disk's exact size stands, in 8 bytes.
  static let exactSizeOffset = 16

  private let exactSize: UInt64

  /// Nil for a later layout, or one that is cut off.
  init?(_ reader: ByteReader, at place: Int, count: Int) throws(DiskError) {
    guard count >= Self.exactSizeOffset + 8, try reader.u32(at: place, .big) == Self.version else {
      return nil
    }
    exactSize = try reader.u64(at: place + Self.exactSizeOffset, .big)
  }

  func diskSize(header: UInt64) -> UInt64 { Self.diskSize(exact: exactSize, header: header) }

  /// The disk's size in bytes, which the header has only in whole sectors: the exact one, unless
  /// somebody resized the disk since.
  public static func diskSize(exact: UInt64, header: UInt64) -> UInt64 {
    exact <= header && header - exact < 512 ? exact : header
  }
}
