internal import DiskCore

/// One record of a directory (ECMA-119, 9.1). Numbers that stand in both byte orders are taken from
/// the little-endian half, as Linux and every other reader does.
struct ISODirectoryRecord {
  struct Flags: OptionSet {
    let rawValue: UInt8
    static let hidden = Flags(rawValue: 0x01)
    static let folder = Flags(rawValue: 0x02)
    static let associated = Flags(rawValue: 0x04)
    /// The file goes on in the next record.
    static let continues = Flags(rawValue: 0x80)
  }

  /// Up to the name.
  static let fixedPart = 33

  /// Where in the volume the record is, in bytes.
  let position: UInt64
  /// Of the whole record, in bytes.
  let length: Int
  let flags: Flags
  let name: ArraySlice<UInt8>
  let recorded: FileTime?
  let section: ISOSection
  /// All of the record; `systemUseStart` is where the name ends.
  let reader: ByteReader
  let systemUseStart: Int

  var isFolder: Bool { flags.contains(.folder) || isSelf }
  /// The folder's record of itself, which others call `.`.
  var isSelf: Bool { name.elementsEqual([0]) }
  var isParent: Bool { name.elementsEqual([1]) }

  /// The record at `position`.
  ///
  /// - Throws: `malformed` where there is none or it reaches past its sector.
  init(at position: UInt64, _ volume: ISOVolume) throws(DiskError) {
    try self.init(startOf: try volume.restOfSector(at: position), volume)
  }

  /// The record that the rest of a sector starts with.
  ///
  /// - Throws: as the other one.
  init(startOf sector: ByteReader, _ volume: ISOVolume) throws(DiskError) {
    let position = sector.base
    let length = Int(try sector.u8(at: 0))
    guard length > Self.fixedPart else {
      throw volume.failure(
        .malformed, "a directory record of \(length) bytes; there must be at least 34", position)
    }
    guard length <= sector.count else {
      throw volume.failure(
        .malformed,
        "a directory record of \(length) bytes reaches past its sector, of which \(sector.count) are "
          + "left", position)
    }
    try self.init(try sector.part(at: 0, count: length), volume)
  }

  /// A folder's record of itself, which its extent starts with.
  init(ofFolderAt position: UInt64, _ volume: ISOVolume) throws(DiskError) {
    try self.init(at: position, volume)
    guard isSelf else {
      throw volume.failure(
        .malformed, "a folder does not start with the record of itself", position)
    }
  }

  private init(_ reader: ByteReader, _ volume: ISOVolume) throws(DiskError) {
    self.reader = reader
    position = reader.base
    length = reader.count
    flags = Flags(rawValue: try reader.u8(at: 25))
    let nameLength = Int(try reader.u8(at: 32))
    // genisoimage has made names of no bytes, of characters that its Joliet cannot have.
    guard Self.fixedPart + nameLength <= reader.count else {
      throw volume.failure(
        .malformed, "a name of \(nameLength) bytes in a directory record of \(reader.count)",
        reader.base + 32)
    }
    name = try reader.slice(at: Self.fixedPart, count: nameLength)
    // Padded to an even length.
    systemUseStart = (Self.fixedPart + nameLength + 1) & ~1
    recorded = try ISODate.short(reader, at: 18)
    section = try ISOSection(reader, volume)
  }
}

/// Where one piece of a file is (ECMA-119, 6.4): in one run, or in units with gaps between them.
struct ISOSection {
  /// Of the data, in bytes.
  let start: UInt64
  /// Of the data, in bytes; gaps are not in it.
  let length: UInt64
  /// Of a unit that lies in one run, in bytes; nil where all of it does.
  let unit: UInt64?
  /// From one unit to the next.
  let stride: UInt64

  /// In one run.
  init(start: UInt64, length: UInt64) {
    self.start = start
    self.length = length
    unit = nil
    stride = 0
  }

  fileprivate init(_ reader: ByteReader, _ volume: ISOVolume) throws(DiskError) {
    let first = volume.position(ofBlock: try reader.u32(at: 2))
    let attributes = UInt64(try reader.u8(at: 1)) * volume.blockSize
    length = UInt64(try reader.u32(at: 10))
    let unit = UInt64(try reader.u8(at: 26)) * volume.blockSize
    stride = unit + UInt64(try reader.u8(at: 27)) * volume.blockSize
    if unit > 0, stride > unit {
      self.unit = unit
      // The extended attribute record has a unit of its own (ECMA-119, 6.4.3.2).
      start = first + (attributes > 0 ? stride : 0)
    } else {
      self.unit = nil
      start = first + attributes
    }
  }

  /// Where the byte at `offset` of the data is, and how many follow it in one run.
  func run(at offset: UInt64) -> (position: UInt64, length: UInt64) {
    guard let unit else { return (start + offset, length - offset) }
    let within = offset % unit
    return (start + offset / unit * stride + within, min(unit - within, length - offset))
  }
}
