internal import DiskCore

/// What a directory record says of a file that is compressed in blocks (zisofs by H. Peter Anvin;
/// zisofs2 by Valentín Kivachuk Burdá and Thomas Schmitt).
struct ZisofsEntry: Equatable {
  /// 2¹² to 2²⁰ bytes: zisofs has 2¹⁵ to 2¹⁷, which Linux reads from its page size on, and libisofs
  /// writes up to 2²⁰.
  static let blockSizes: ClosedRange<UInt8> = 12...20

  /// Uncompressed, in bytes.
  let size: UInt64
  /// Of a block, as a power of two.
  let blockPower: UInt8
  let isSecondVersion: Bool

  /// In the volume.
  let place: UInt64

  /// - Throws: `malformed` for a size that no disk has.
  init(_ entry: SystemUseEntry) throws(DiskError) {
    isSecondVersion = entry.version == 2
    blockPower = try entry.reader.u8(at: 7)
    size = isSecondVersion ? try entry.reader.u64(at: 8) : UInt64(try entry.number(at: 8))
    place = entry.reader.base
    guard size <= Limits.largestDisk else {
      throw DiskError(
        .malformed, "a zisofs file of \(size) bytes", path: entry.reader.path, offset: place)
    }
  }
}

/// The header of a zisofs file.
struct ZisofsHeader {
  enum Method: UInt8 {
    case zlib = 1
    case xz
    case lz4
    case zstd
    case bzip2
  }

  private static let first: [UInt8] = [0x37, 0xE4, 0x53, 0x96, 0xC9, 0xDB, 0xD6, 0x07]
  private static let second: [UInt8] = [0xEF, 0x22, 0x55, 0xA1, 0xBC, 0x1B, 0x95, 0xA0]
  private static let lengths = (first: 16, second: 24)

  let method: Method
  /// Of the table of block pointers behind it, in bytes from the file's start.
  let tableStart: UInt64
  /// 4 or 8 bytes.
  let isWide: Bool

  /// - Throws: `malformed` where it is none or says something else than the directory record does;
  ///   `unsupported` for a compression or a block size that is not read.
  init(_ stored: WindowStorage, _ entry: ZisofsEntry) throws(DiskError) {
    guard ZisofsEntry.blockSizes.contains(entry.blockPower) else {
      throw DiskError(
        .unsupported,
        "a zisofs file in blocks of 2^\(entry.blockPower) bytes; 2^12 to 2^20 are read",
        path: stored.path, offset: entry.place)
    }
    let length = entry.isSecondVersion ? Self.lengths.second : Self.lengths.first
    let reader = try stored.reader(at: .start, count: Int(min(stored.size, UInt64(length))))
    func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(kind, message, path: stored.path)
    }
    guard reader.matches(entry.isSecondVersion ? Self.second : Self.first, at: 0) else {
      throw failure(.malformed, "a file that should be compressed by zisofs has not its header")
    }
    let words: UInt8
    let power: UInt8
    let size: UInt64
    if entry.isSecondVersion {
      let number = try reader.u8(at: 10)
      guard try reader.u8(at: 8) == 0, let known = Method(rawValue: number) else {
        throw failure(
          .unsupported, "a zisofs file with the compression \(number), which is not known")
      }
      method = known
      (words, power, size) = (try reader.u8(at: 9), try reader.u8(at: 11), try reader.u64(at: 12))
    } else {
      method = .zlib
      size = UInt64(try reader.u32(at: 8))
      (words, power) = (try reader.u8(at: 12), try reader.u8(at: 13))
    }
    guard size == entry.size, power == entry.blockPower, Int(words) * 4 >= length else {
      throw failure(
        .malformed,
        "a zisofs file's header (\(size) bytes in blocks of 2^\(power)) is not what its directory "
          + "record says (\(entry.size) in 2^\(entry.blockPower))")
    }
    tableStart = UInt64(words) * 4
    isWide = entry.isSecondVersion
  }
}
