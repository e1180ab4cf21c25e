internal import DiskCore

/// What a volume keeps of one file (ECMA-167, 4/14.9 and 4/14.17; UDF 2.60, 2.3.5 to 2.3.7).
struct UDFFileEntry {
  /// Where its allocation descriptors are, or the file itself.
  enum Form: UInt16 {
    case short, long, extended, inEntry

    /// Of one descriptor, in bytes.
    var width: Int {
      switch self {
      case .short: 8
      case .long, .inEntry: 16
      case .extended: 20
      }
    }
  }

  /// Bits of the ICB's flags (ECMA-167, 4/14.6.8).
  private enum Flag {
    static let setUser: UInt16 = 1 << 6
    static let setGroup: UInt16 = 1 << 7
    static let sticky: UInt16 = 1 << 8
  }

  /// In the ICB's tag (ECMA-167, 4/14.6).
  private static let strategyOffset = 20
  static let fileTypeOffset = 27
  /// For an owner that is not recorded.
  private static let nobody: UInt32 = .max

  /// The block that it is in, as read.
  let block: ByteReader
  let address: UDFAddress
  let strategy: UInt16
  let fileType: UInt8
  let form: Form
  /// In bytes.
  let size: UInt64
  /// Where in the block the extended attributes are, and the allocation descriptors.
  let extendedAttributes: Range<Int>
  let descriptors: Range<Int>
  private let flags: UInt16
  /// The longer form, with a time of creation.
  private let isExtended: Bool

  /// In bytes from the volume's start.
  var position: UInt64 { block.base }

  /// - Parameter tag: of an entry, in either form.
  /// - Throws: `malformed` for what cannot be.
  init(_ block: ByteReader, _ tag: UDFTag, _ address: UDFAddress) throws(DiskError) {
    self.block = block
    self.address = address
    isExtended = tag.kind == UDFTag.Kind.extendedFileEntry
    strategy = try block.u16(at: Self.strategyOffset)
    fileType = try block.u8(at: Self.fileTypeOffset)
    flags = try block.u16(at: 34)
    guard let form = Form(rawValue: flags & 7) else {
      throw Self.malformed("a file with allocation descriptors of kind \(flags & 7)", block)
    }
    self.form = form
    size = try block.u64(at: 56)
    guard size <= Limits.largestDisk else {
      throw Self.malformed("a file of \(size) bytes", block)
    }
    let lengths = isExtended ? 208 : 168
    let attributesLength = Int(clamping: try block.u32(at: lengths))
    let descriptorsLength = Int(clamping: try block.u32(at: lengths + 4))
    let start = lengths + 8
    guard attributesLength <= block.count - start,
      descriptorsLength <= block.count - start - attributesLength
    else {
      throw Self.malformed(
        "a file entry of \(attributesLength) bytes of attributes and \(descriptorsLength) of "
          + "allocation descriptors in a block of \(block.count)", block)
    }
    extendedAttributes = start..<start + attributesLength
    descriptors = extendedAttributes.upperBound..<extendedAttributes.upperBound + descriptorsLength
  }

  private static func malformed(_ message: String, _ block: ByteReader) -> DiskError {
    DiskError(.malformed, message, path: block.path, offset: block.base)
  }

  var kind: FileKind { FileKind(udfFileType: fileType) }

  /// The lower twelve bits of a mode: execute, write and read stand at bits 0, 5 and 10 for others, the
  /// group and the owner (ECMA-167, 4/14.9.5), each before two that POSIX has not got.
  var permissions: UInt16 {
    get throws(DiskError) {
      let stored = try block.u32(at: 44)
      var mode: UInt16 = 0
      for triple in 0..<3 as Range<UInt32> {
        mode |= UInt16(stored >> (5 * triple) & 7) << UInt16(3 * triple)
      }
      if flags & Flag.setUser != 0 { mode |= 0o4000 }
      if flags & Flag.setGroup != 0 { mode |= 0o2000 }
      if flags & Flag.sticky != 0 { mode |= 0o1000 }
      return mode
    }
  }

  /// All but what other structures are needed for: a link's size, a device's number.
  func attributes(_ space: UDFSpace) throws(DiskError) -> FileAttributes {
    var attributes = FileAttributes(kind, size: size)
    // A volume cannot hold more than itself, whatever its entries say.
    let recorded = try block.u64(at: isExtended ? 72 : 64)
    let (bytes, overflow) = recorded.multipliedReportingOverflow(by: space.blockSize)
    attributes.allocatedBytes =
      overflow ? space.volume.volume.size : min(bytes, space.volume.volume.size)
    attributes.permissions = try permissions
    let (user, group) = (try block.u32(at: 36), try block.u32(at: 40))
    attributes.user = user == Self.nobody ? nil : user
    attributes.group = group == Self.nobody ? nil : group
    // A folder's own entry for itself is not counted in UDF, and is on Linux.
    attributes.links = max(1, UInt32(try block.u16(at: 48))) + (kind == .folder ? 1 : 0)
    let times = isExtended ? 80 : 72
    attributes.accessed = try UDFDate.time(block, at: times)
    attributes.modified = try UDFDate.time(block, at: times + 12)
    if isExtended { attributes.created = try UDFDate.time(block, at: times + 24) }
    attributes.changed = try UDFDate.time(block, at: times + (isExtended ? 36 : 24))
    return attributes
  }
}

extension FileKind {
  /// By the file type of an ICB (ECMA-167, 4/14.6.6). What POSIX has no word for is a file: among it 249,
  /// a file that is played in real time.
  init(udfFileType type: UInt8) {
    switch type {
    case 4: self = .folder
    case 6: self = .blockDevice
    case 7: self = .characterDevice
    case 9: self = .pipe
    case 10: self = .socket
    case 12: self = .link
    default: self = .file
    }
  }
}
