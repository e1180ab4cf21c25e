internal import DiskCore

/// A device's numbers, which are an extended attribute of its file entry (ECMA-167, 4/14.10; UDF 2.60,
/// 3.3.4.4).
enum UDFDeviceNumber {
  /// Of the descriptor before the attributes.
  private static let header = 24
  /// Of an attribute before its own data.
  private static let attributeHeader = 12
  private static let deviceSpecification: UInt32 = 12

  /// Nil where none is recorded. Attributes outside the entry are not read: no device has that many.
  static func of(_ entry: UDFFileEntry) throws(DiskError) -> (major: UInt32, minor: UInt32)? {
    let range = entry.extendedAttributes
    guard range.count >= header,
      UDFTag(entry.block, at: range.lowerBound)?.kind == UDFTag.Kind.attributeHeader
    else { return nil }
    var offset = range.lowerBound + header
    while range.upperBound - offset >= attributeHeader {
      let length = Int(try entry.block.u32(at: offset + 8))
      guard length >= attributeHeader, length <= range.upperBound - offset else { return nil }
      if try entry.block.u32(at: offset) == deviceSpecification, length >= attributeHeader + 12 {
        return (try entry.block.u32(at: offset + 16), try entry.block.u32(at: offset + 20))
      }
      offset += length
    }
    return nil
  }
}
