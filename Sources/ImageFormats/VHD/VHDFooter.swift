internal import DiskCore

/// The 512-byte hard disk footer at the end of every VHD, and at the start too where blocks are
/// allocated (Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format").
struct VHDFooter: Sendable {
  enum DiskType: UInt32, Sendable {
    case fixed = 2
    case dynamic = 3
    case differencing = 4
  }

  static let byteCount = 512
  static let cookie: StaticString = "conectix"

  let type: DiskType
  /// In bytes. The size of the disk: the geometry beside it is rounded down to whole cylinders.
  let currentSize: UInt64
  /// Where the dynamic disk header is.
  let dataOffset: FileOffset
  let geometry: (cylinders: UInt16, heads: UInt8, sectors: UInt8)
  /// Four ASCII characters: `vpc `, `win `, `qem2`, …
  let creator: String
  let uuid: String
  /// Seconds since 2000-01-01T00:00:00Z.
  let timestamp: UInt32
  let hasValidChecksum: Bool

  /// - Parameter reader: from the footer's first byte on. Virtual PC before 2004 wrote only 511 of
  ///   its bytes, the last of which is reserved.
  /// - Throws: `malformed` where it is no footer or contradicts itself.
  init(_ reader: ByteReader) throws(DiskError) {
    guard reader.matches(Self.cookie, at: 0) else {
      throw DiskError(
        .malformed, "no VHD footer here", path: reader.path, offset: reader.base)
    }
    let version = try reader.u32(at: 12, .big)
    guard version >> 16 == 1 else {
      throw DiskError(
        .unsupported,
        "a VHD of format version \(version >> 16).\(version & 0xffff); only 1.0 is "
          + "specified", path: reader.path, offset: reader.base + 12)
    }
    let rawType = try reader.u32(at: 60, .big)
    guard let type = DiskType(rawValue: rawType) else {
      throw DiskError(
        .malformed,
        "the footer names disk type \(rawType), which is none of fixed, dynamic and "
          + "differencing", path: reader.path, offset: reader.base + 60)
    }
    self.type = type
    dataOffset = FileOffset(try reader.u64(at: 16, .big))
    timestamp = try reader.u32(at: 24, .big)
    creator = try reader.text(at: 28, count: 4)
    currentSize = try reader.u64(at: 48, .big)
    geometry = (
      try reader.u16(at: 56, .big), try reader.u8(at: 58), try reader.u8(at: 59)
    )
    uuid = try reader.uuid(at: 68)
    hasValidChecksum = try reader.u32(at: 64, .big) == VHDChecksum.of(reader.bytes, fieldAt: 64)
    guard currentSize <= Limits.largestDisk else {
      throw DiskError(
        .malformed, "the footer claims a disk of \(currentSize) bytes", path: reader.path,
        offset: reader.base + 48)
    }
  }

  /// In bytes, by cylinders, heads and sectors.
  var geometrySize: UInt64 {
    UInt64(geometry.cylinders) * UInt64(geometry.heads) * UInt64(geometry.sectors) * 512
  }
}

/// The one's complement of the sum of all bytes but the checksum's own four.
enum VHDChecksum {
  static func of(_ bytes: [UInt8], fieldAt field: Int) -> UInt32 {
    var sum: UInt32 = 0
    for (index, byte) in bytes.enumerated() where !(field..<field + 4).contains(index) {
      sum &+= UInt32(byte)
    }
    return ~sum
  }

  /// The one in the footer at `place`.
  static func ofFooter(
    in source: any Storage, at place: Range<UInt64>, name: String
  ) -> RecordedChecksum {
    RecordedChecksum(
      "footer checksum", name: name, of: source, at: place, field: 64, fieldIs: [], .big,
      by: { VHDSum() })
  }
}

/// As `VHDChecksum`, of the bytes that count.
struct VHDSum: RunningChecksum {
  private var sum: UInt32 = 0

  var value: UInt32 { ~sum }

  mutating func add(_ bytes: RawSpan) {
    for place in 0..<bytes.byteCount {
      sum &+= UInt32(unsafe bytes.unsafeLoad(fromByteOffset: place, as: UInt8.self))
    }
  }
}
