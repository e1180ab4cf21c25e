internal import DiskCore

/// What belongs to one file or folder: an entry with its attributes, one that says where it is stored,
/// and up to 17 with parts of its name (Microsoft, "exFAT file system specification", sections 7.4, 7.6
/// and 7.7).
struct ExFATEntrySet {
  static let entryLength = 32
  /// The kinds of entries, by their first byte.
  enum Kind {
    static let end: UInt8 = 0
    static let upCaseTable: UInt8 = 0x82
    static let file: UInt8 = 0x85
    static let stream: UInt8 = 0xC0
    static let name: UInt8 = 0xC1
    /// In use, and not the first of its set.
    static func isSecondary(_ kind: UInt8) -> Bool { kind & 0xC0 == 0xC0 }
  }

  let name: FileName
  let kind: FileKind
  let firstCluster: UInt32
  /// In bytes.
  let size: UInt64
  /// In bytes: what is behind it was never written.
  let written: UInt64
  /// Whether its clusters are beside each other, without a chain.
  let isContiguous: Bool
  private let isReadOnly: Bool
  private let created: FileTime
  private let modified: FileTime
  private let accessed: FileTime

  /// How many bytes the set takes whose first entry is at `place`.
  ///
  /// - Throws: `malformed` for a count that no set has.
  static func length(_ reader: ByteReader, at place: Int) throws(DiskError) -> Int {
    let others = Int(try reader.u8(at: place + 1))
    guard (2...18).contains(others) else {
      throw damaged(reader, at: place, "has \(others) further entries")
    }
    return (others + 1) * entryLength
  }

  /// - Parameter set: all of its entries and nothing else.
  /// - Throws: `malformed` where they do not belong together.
  init(_ set: ByteReader, east: (FileTime) -> Int) throws(DiskError) {
    guard try set.u8(at: 0) == Kind.file, try set.u16(at: 2) == Self.checksum(of: set.bytes) else {
      throw Self.damaged(set, at: 0, "has a wrong checksum")
    }
    guard try set.u8(at: Self.entryLength) == Kind.stream else {
      throw Self.damaged(set, at: 0, "does not say where the file is stored")
    }
    let attributes = try set.u16(at: 4)
    kind = attributes & 0x10 == 0 ? .file : .folder
    isReadOnly = attributes & 0x01 != 0
    created = try Self.time(set, at: 8, hundredths: 20, zone: 22, east: east)
    modified = try Self.time(set, at: 12, hundredths: 21, zone: 23, east: east)
    accessed = try Self.time(set, at: 16, hundredths: nil, zone: 24, east: east)

    let stream = Self.entryLength
    // Bit 1; without bit 0 there are no clusters at all.
    isContiguous = try set.u8(at: stream + 1) & 0b11 == 0b11
    firstCluster = try set.u32(at: stream + 20)
    size = try set.u64(at: stream + 24)
    written = min(size, try set.u64(at: stream + 8))
    name = try Self.name(set, length: Int(try set.u8(at: stream + 3)))
  }

  var attributes: FileAttributes {
    var attributes = FileAttributes(kind, size: size)
    attributes.permissions = kind == .folder ? 0o755 : isReadOnly ? 0o444 : 0o644
    attributes.modified = modified
    attributes.accessed = accessed
    attributes.created = created
    return attributes
  }

  private static func name(_ set: ByteReader, length: Int) throws(DiskError) -> FileName {
    var units: [UInt16] = []
    var place = 2 * entryLength
    while units.count < length, place < set.count, try set.u8(at: place) == Kind.name {
      for unit in 0..<15 { units.append(try set.u16(at: place + 2 + 2 * unit)) }
      place += entryLength
    }
    guard length > 0, units.count >= length else {
      throw damaged(set, at: 0, "has no whole name")
    }
    return FileName(String(decoding: units.prefix(length), as: UTF16.self))
  }

  /// Section 7.4.8 to 7.4.10: local time, and in quarters of an hour how far east that is, where bit 7
  /// says that this is known.
  private static func time(
    _ set: ByteReader, at place: Int, hundredths: Int?, zone: Int, east: (FileTime) -> Int
  ) throws(DiskError) -> FileTime {
    let finer = try hundredths.map { (at) throws(DiskError) in min(199, try set.u8(at: at)) } ?? 0
    let stored = DOSTime(
      date: try set.u16(at: place + 2), time: try set.u16(at: place), hundredths: finer)
    let zone = try set.u8(at: zone)
    guard zone & 0x80 != 0 else { return stored.moment(east: east) }
    // Seven bits with a sign.
    let quarters = Int(Int8(bitPattern: zone << 1) >> 1)
    return stored.moment(east: { _ in quarters * 15 * 60 })
  }

  /// Section 6.3.3: over all bytes but the checksum's own.
  private static func checksum(of set: [UInt8]) -> UInt16 {
    var sum: UInt16 = 0
    for (index, byte) in set.enumerated() where index != 2 && index != 3 {
      sum = (sum >> 1 | sum << 15) &+ UInt16(byte)
    }
    return sum
  }

  static func damaged(_ reader: ByteReader, at place: Int, _ what: String) -> DiskError {
    DiskError(
      .malformed, "a directory entry \(what)", path: reader.path,
      offset: reader.base + UInt64(place))
  }
}
