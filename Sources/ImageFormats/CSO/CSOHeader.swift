internal import DiskCore

/// The header of a compressed disc image (maxcso's README_CSO.md and README_ZSO.md): 24 bytes,
/// little-endian.
struct CSOHeader {
  enum Variant: String {
    /// Blocks are deflated or plain.
    case version1 = "v1"
    /// Blocks are deflated, LZ4 or plain.
    case version2 = "v2"
    /// Blocks are LZ4 or plain.
    case zso = "ZSO"
  }

  static let byteCount = 24
  static let magic: StaticString = "CISO"
  static let zsoMagic: StaticString = "ZISO"
  /// The specification names none; maxcso takes 2 KiB to 256 KiB. A compressed block is read in one
  /// piece and is up to twice as long.
  static let blockSizes = UInt32(512)...UInt32(Limits.largestBlock / 2)
  /// Of 31 bits shifted further no file has an offset.
  static let largestShift: UInt8 = 31

  let variant: Variant
  /// Of the disc, in bytes.
  let size: UInt64
  /// A power of two.
  let blockSize: Int
  /// Where blocks start is counted in units of so many bytes.
  let unit: UInt64
  let blockCount: Int

  /// - Parameter reader: the file's first `byteCount` bytes.
  /// - Throws: `malformed` for a block size or shift that cannot be, `unsupported` for other versions
  ///   and for block sizes that are not read.
  init(_ reader: ByteReader) throws(DiskError) {
    func failure(_ kind: DiskError.Kind, _ message: String, at offset: Int) -> DiskError {
      DiskError(kind, message, path: reader.path, offset: UInt64(offset))
    }
    if Self.isOfGameCube(reader) {
      throw failure(
        .unsupported, "is a CISO image of a GameCube or Wii disc, which is another format", at: 0)
    }
    let version = try reader.u8(at: 20)
    switch (reader.matches(Self.zsoMagic, at: 0), version) {
    case (true, 0...1): variant = .zso
    case (false, 0...1): variant = .version1
    case (false, 2): variant = .version2
    default: throw failure(.unsupported, "version \(version) of the format is not read", at: 20)
    }
    let blockSize = try reader.u32(at: 16)
    guard blockSize.nonzeroBitCount == 1 else {
      throw failure(
        .malformed, "a block size of \(blockSize) bytes; it must be a power of two", at: 16)
    }
    guard Self.blockSizes.contains(blockSize) else {
      throw failure(
        .unsupported,
        "a block size of \(blockSize) bytes; only \(Self.blockSizes.lowerBound) to "
          + "\(Self.blockSizes.upperBound) are read", at: 16)
    }
    size = try reader.u64(at: 8)
    guard size <= Limits.largestDisk else {
      throw failure(.malformed, "a disc of \(size) bytes", at: 8)
    }
    let shift = try reader.u8(at: 21)
    guard shift <= Self.largestShift else {
      throw failure(.malformed, "an index that is shifted by \(shift) bits", at: 21)
    }
    self.blockSize = Int(blockSize)
    unit = 1 << UInt64(shift)
    blockCount = Int((size + UInt64(blockSize) - 1) / UInt64(blockSize))
  }

  /// How many bytes of the disc block `index` holds: all have `blockSize`, the last may have fewer.
  func contentBytes(of index: Int) -> Int {
    Int(min(UInt64(blockSize), size - UInt64(index) * UInt64(blockSize)))
  }

  /// The same magic stands before a block size and a map of which blocks are there, a byte each.
  private static func isOfGameCube(_ reader: ByteReader) -> Bool {
    guard reader.matches(magic, at: 0), let map = try? reader.slice(at: 8, count: 16) else {
      return false
    }
    return map.first == 1 && map.allSatisfy { $0 <= 1 }
  }
}
