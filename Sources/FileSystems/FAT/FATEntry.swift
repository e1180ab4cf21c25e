internal import DiskCore

/// One directory entry of 32 bytes (Microsoft, "FAT: General Overview of On-Disk Format", pages 22 to
/// 25).
struct FATEntry {
  static let byteCount = 32
  /// First byte: nothing here and behind it; nothing here any more.
  static let last: UInt8 = 0
  static let deleted: UInt8 = 0xE5

  private enum Attribute {
    static let readOnly: UInt8 = 0x01
    static let volume: UInt8 = 0x08
    static let folder: UInt8 = 0x10
    /// Together, of the lower six bits: a part of a long name.
    static let longName: UInt8 = 0x0F
    static let ofLongName: UInt8 = 0x3F
  }

  /// What an entry is for.
  enum Use { case last, deleted, longName, label, item }

  /// Eight characters and three.
  let shortName: [UInt8]
  /// Bits 3 and 4: name and extension are in lower case (Windows NT).
  let lowerCase: UInt8
  /// 0 where there is none.
  let firstCluster: UInt32
  /// Of a file, in bytes; 0 for a folder.
  let size: UInt32
  private let flags: UInt8
  private let created: DOSTime
  private let accessed: DOSTime
  private let modified: DOSTime

  static func use(_ reader: ByteReader, at place: Int) throws(DiskError) -> Use {
    let first = try reader.u8(at: place)
    if first == last { return .last }
    if first == deleted { return .deleted }
    let flags = try reader.u8(at: place + 11)
    if flags & Attribute.ofLongName == Attribute.longName { return .longName }
    return flags & Attribute.volume == 0 ? .item : .label
  }

  /// - Parameter isFAT32: FAT12 and FAT16 have other things in the upper half of the cluster's number.
  init(_ reader: ByteReader, at place: Int, isFAT32: Bool) throws(DiskError) {
    shortName = Array(try reader.slice(at: place, count: 11))
    flags = try reader.u8(at: place + 11)
    lowerCase = try reader.u8(at: place + 12)
    created = DOSTime(
      date: try reader.u16(at: place + 16), time: try reader.u16(at: place + 14),
      hundredths: min(199, try reader.u8(at: place + 13)))
    accessed = DOSTime(date: try reader.u16(at: place + 18))
    modified = DOSTime(
      date: try reader.u16(at: place + 24), time: try reader.u16(at: place + 22))
    let upper = isFAT32 ? UInt32(try reader.u16(at: place + 20) & 0x0FFF) : 0
    firstCluster = upper << 16 | UInt32(try reader.u16(at: place + 26))
    size = flags & Attribute.folder == 0 ? try reader.u32(at: place + 28) : 0
  }

  var kind: FileKind { flags & Attribute.folder == 0 ? .file : .folder }

  /// `.` or `..`.
  var isDots: Bool {
    let dots = shortName.prefix { $0 == 0x2E }.count
    return (1...2).contains(dots) && shortName.dropFirst(dots).allSatisfy { $0 == 0x20 }
  }

  /// Without its size and what it takes.
  ///
  /// - Parameter east: see `FileSystemOptions.localTimeOffset`.
  func attributes(east offset: (FileTime) -> Int) -> FileAttributes {
    var attributes = FileAttributes(kind)
    // On a folder the flag says that the folder looks different, and protects nothing.
    attributes.permissions =
      kind == .folder ? 0o755 : flags & Attribute.readOnly == 0 ? 0o644 : 0o444
    attributes.modified = modified.moment(east: offset)
    // A date of 0: never set, which is allowed.
    if accessed.date != 0 { attributes.accessed = accessed.moment(east: offset) }
    if created.date != 0 { attributes.created = created.moment(east: offset) }
    return attributes
  }
}
