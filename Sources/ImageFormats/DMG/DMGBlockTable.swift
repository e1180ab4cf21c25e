internal import DiskCore

/// A block table as it was found, in the property list or the resource fork.
struct DMGTableBytes {
  /// What it is of: a partition, a partition table.
  let name: String
  let reader: ByteReader
}

/// A run of sectors and how it is stored.
struct DMGChunk {
  enum Kind: UInt32 {
    case zero = 0
    case raw = 1
    /// Reads as zeros too; checksums pass over it.
    case ignored = 2
    case adc = 0x8000_0004
    case zlib = 0x8000_0005
    case bzip2 = 0x8000_0006
    case lzfse = 0x8000_0007
    case lzma = 0x8000_0008
  }

  static let comment: UInt32 = 0x7fff_fffe
  static let terminator: UInt32 = 0xffff_ffff

  /// Of the disk, in bytes.
  let range: Range<UInt64>
  let type: UInt32
  /// In the file, unchecked.
  let start: UInt64
  let length: UInt64

  /// Nil for a type that nobody described.
  var kind: Kind? { Kind(rawValue: type) }
  var size: UInt64 { range.upperBound - range.lowerBound }
}

/// The chunks of one part of the disk (BLKXTable in libmodi's "Mac OS disk image types"; big-endian).
struct DMGBlockTable {
  private static let headerBytes = 204
  private static let entryBytes = 40

  let name: String
  /// Of the disk, in bytes.
  let range: Range<UInt64>
  /// Of the bytes that its chunks hold, without those that are ignored.
  let checksum: UInt32?

  /// - Parameters:
  ///   - dataFork: where the file's offsets are counted from.
  ///   - chunks: to which the table's are added, without the empty ones.
  /// - Throws: `malformed` where the table contradicts itself, `truncated` where it is cut off.
  init(
    _ table: DMGTableBytes, dataFork: UInt64, addingTo chunks: inout [DMGChunk]
  ) throws(DiskError) {
    let reader = table.reader
    name = table.name
    func failure(_ message: String) -> DiskError {
      DiskError(
        .malformed, "the block table '\(printable(table.name))' " + message, path: reader.path,
        offset: reader.base)
    }
    guard reader.matches("mish", at: 0) else { throw failure("has no 'mish' signature") }
    let sectors = Limits.largestDisk / DMG.sectorBytes
    func bytes(_ start: UInt64, _ count: UInt64) throws(DiskError) -> Range<UInt64> {
      guard start <= sectors, count <= sectors - start else {
        throw failure("speaks of \(count) sectors from sector \(start) on")
      }
      return start * DMG.sectorBytes..<(start + count) * DMG.sectorBytes
    }
    let first = try reader.u64(at: 8, .big)
    range = try bytes(first, reader.u64(at: 16, .big))
    let (data, dataOverflow) = dataFork.addingReportingOverflow(try reader.u64(at: 24, .big))
    checksum = try DMG.crc32(reader, at: 64)
    let count = Int(try reader.u32(at: 200, .big))
    guard count <= (reader.count - Self.headerBytes) / Self.entryBytes else {
      throw failure("of \(reader.count) bytes has no room for its \(count) chunks")
    }
    for index in 0..<count {
      let entry = Self.headerBytes + Self.entryBytes * index
      let type = try reader.u32(at: entry, .big)
      if type == DMGChunk.terminator { break }
      if type == DMGChunk.comment { continue }
      let (sector, overflow) = first.addingReportingOverflow(try reader.u64(at: entry + 8, .big))
      let range = try bytes(overflow ? .max : sector, reader.u64(at: entry + 16, .big))
      let (start, startOverflow) = data.addingReportingOverflow(
        try reader.u64(at: entry + 24, .big))
      guard !dataOverflow, !startOverflow else { throw failure("has a chunk past any file's end") }
      if range.isEmpty { continue }
      chunks.append(
        DMGChunk(
          range: range, type: type, start: start, length: try reader.u64(at: entry + 32, .big)))
    }
  }
}
