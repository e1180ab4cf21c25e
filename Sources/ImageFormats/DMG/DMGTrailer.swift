internal import DiskCore

/// The 512 bytes that say where everything is in a DMG, at its end or, in some, at its start
/// (UDIFResourceFile in libmodi's "Mac OS disk image types"; big-endian).
struct DMGTrailer {
  static let byteCount = 512
  static let magic: StaticString = "koly"

  /// Of the trailer itself.
  let offset: UInt64
  /// Where chunks are counted from.
  let dataFork: Range<UInt64>
  let resourceFork: Range<UInt64>
  let propertyList: Range<UInt64>
  /// Of the whole disk, in sectors of 512 bytes.
  let sectorCount: UInt64
  /// Of the stored data fork, and of the tables' own checksums; nil where there is no CRC-32.
  let dataChecksum: UInt32?
  let masterChecksum: UInt32?

  /// Where the trailer is in an image that has one.
  static func offset(in sample: ImageSample) -> UInt64? {
    let last = sample.tail.count - byteCount
    if isTrailer(sample.tail, at: last) { return sample.size - UInt64(byteCount) }
    return isTrailer(sample.head, at: 0) ? 0 : nil
  }

  private static func isTrailer(_ reader: ByteReader, at offset: Int) -> Bool {
    // The signature, any version, and the trailer's own length.
    reader.matches(magic, at: offset) && reader.matches([0, 0, 2, 0], at: offset + 8)
  }

  /// - Throws: `unsupported` for other versions and for one of several segments; `malformed` or
  ///   `truncated` where a part does not lie within the file.
  init(_ source: any Storage, at offset: UInt64) throws(DiskError) {
    let reader = try source.reader(at: FileOffset(offset), count: Self.byteCount)
    func failure(_ kind: DiskError.Kind, _ message: String, at field: Int) -> DiskError {
      DiskError(kind, message, path: source.path, offset: offset + UInt64(field))
    }
    func part(_ name: String, at field: Int) throws(DiskError) -> Range<UInt64> {
      let (start, count) = (try reader.u64(at: field, .big), try reader.u64(at: field + 8, .big))
      if count == 0 { return 0..<0 }
      let (end, overflow) = start.addingReportingOverflow(count)
      guard !overflow, end <= source.size else {
        throw failure(
          .truncated,
          "its \(name), \(count) bytes from byte \(start), does not lie within the file",
          at: field)
      }
      return start..<end
    }
    self.offset = offset
    let version = try reader.u32(at: 4, .big)
    guard version == 4 else {
      throw failure(.unsupported, "version \(version) of the format is not read", at: 4)
    }
    let segments = try reader.u32(at: 60, .big)
    guard segments <= 1 else {
      throw failure(
        .unsupported,
        "is segment \(try reader.u32(at: 56, .big)) of \(segments): an image in several files "
          + "(.dmgpart) is not read; 'hdiutil convert' on a Mac makes it one", at: 60)
    }
    dataFork = try part("data fork", at: 24)
    resourceFork = try part("resource fork", at: 40)
    propertyList = try part("property list", at: 216)
    sectorCount = try reader.u64(at: 492, .big)
    guard sectorCount <= Limits.largestDisk / DMG.sectorBytes else {
      throw failure(.malformed, "a disk of \(sectorCount) sectors", at: 492)
    }
    dataChecksum = try DMG.crc32(reader, at: 80)
    masterChecksum = try DMG.crc32(reader, at: 352)
  }
}

/// What trailers and tables have in common.
enum DMG {
  static let sectorBytes: UInt64 = 512
  private static let crc32Type: UInt32 = 2

  /// The checksum of the UDIFChecksum at `offset`: its type, its size in bits, its value. Nil where that
  /// is no CRC-32.
  static func crc32(_ reader: ByteReader, at offset: Int) throws(DiskError) -> UInt32? {
    guard try reader.u32(at: offset, .big) == crc32Type,
      try reader.u32(at: offset + 4, .big) == 32
    else { return nil }
    return try reader.u32(at: offset + 8, .big)
  }
}
