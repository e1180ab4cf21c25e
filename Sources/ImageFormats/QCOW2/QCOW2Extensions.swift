internal import DiskCore

/// The header extensions that stand between the header and the backing file's name (docs/interop/
/// qcow2.txt, "Header extensions"). Unknown ones are skipped, as the specification has it.
struct QCOW2Extensions: Sendable {
  private enum Kind {
    static let end: UInt32 = 0
    static let backingFormat: UInt32 = 0xe279_2aca
    static let featureNames: UInt32 = 0x6803_f857
    static let dataFile: UInt32 = 0x4441_5441
    static let bitmaps: UInt32 = 0x2385_2875
  }

  /// The first read, in bytes: all of it in what QEMU makes.
  private static let usualBytes: UInt64 = 1024
  /// How far extensions are looked at, in bytes; QEMU's own take less than 1 KiB, and those of an
  /// overlay are in its first cluster.
  static let mostBytes: UInt64 = 131_072
  /// In bytes: a format's name or a file's.
  private static let longestText = 1023

  private(set) var backingFormat: String?
  private(set) var dataFile: String?
  private(set) var bitmaps: UInt32 = 0
  /// Of an overlay.
  private(set) var platter: PlatterExtension?
  /// Names of incompatible features by their bit.
  private(set) var featureNames: [Int: String] = [:]

  /// - Throws: `malformed` for an extension that does not fit where extensions can be.
  init(_ source: any Storage, _ header: QCOW2Header) throws(DiskError) {
    let end = min(header.backingName?.offset ?? header.clusterSize, source.size)
    guard header.length < end else { return }
    let available = end - header.length
    for limit in [Self.usualBytes, Self.mostBytes] {
      let reader = try source.reader(
        at: FileOffset(header.length), count: Int(min(limit, available)))
      if try read(reader, isAll: available <= limit) { return }
    }
    throw DiskError(
      .malformed, "has more than \(Self.mostBytes) bytes of header extensions", path: source.path,
      offset: header.length)
  }

  /// Whether the extensions' end was found in these bytes.
  private mutating func read(_ reader: ByteReader, isAll: Bool) throws(DiskError) -> Bool {
    var place = 0
    while reader.count - place >= 8 {
      let kind = try reader.u32(at: place, .big)
      if kind == Kind.end { return true }
      let count = Int(try reader.u32(at: place + 4, .big))
      guard count <= reader.count - place - 8 else {
        guard isAll else { return false }
        throw DiskError(
          .malformed, "a header extension of \(count) bytes reaches past the others' place",
          path: reader.path, offset: reader.base + UInt64(place))
      }
      try take(kind, reader, at: place + 8, count)
      place += 8 + (count + 7) / 8 * 8
    }
    return isAll
  }

  private mutating func take(
    _ kind: UInt32, _ reader: ByteReader, at place: Int, _ count: Int
  ) throws(DiskError) {
    switch kind {
    case Kind.backingFormat: backingFormat = try Self.text(reader, at: place, count)
    case Kind.dataFile: dataFile = try Self.text(reader, at: place, count)
    case Kind.bitmaps where count >= 4: bitmaps = try reader.u32(at: place, .big)
    case PlatterExtension.type: platter = try PlatterExtension(reader, at: place, count: count)
    case Kind.featureNames:
      // Entries of 48 bytes: which set of features, bit, name.
      for entry in stride(from: place, through: place + count - 48, by: 48)
      where try reader.u8(at: entry) == 0 {
        featureNames[Int(try reader.u8(at: entry + 1))] = try reader.text(at: entry + 2, count: 46)
      }
    default: break
    }
  }

  private static func text(
    _ reader: ByteReader, at place: Int, _ count: Int
  ) throws(DiskError) -> String? {
    guard count <= longestText else {
      throw DiskError(
        .malformed, "a name of \(count) bytes; \(longestText) is the most", path: reader.path,
        offset: reader.base + UInt64(place))
    }
    let name = QEMUFileName.text(try reader.slice(at: place, count: count))
    return name.isEmpty ? nil : name
  }
}
