internal import Decoders
internal import DiskCore

/// The blocks of a compressed loop image: a table of where each starts, and a zlib stream for each
/// (cloop's cloop.h and QEMU's block/cloop.c).
final class CloopBlocks: BlockDecoder {
  /// Behind the shell script that every image starts with.
  static let headerOffset = FileOffset(128)
  private static let tableOffset = FileOffset(136)
  /// A compressed block is read in one piece and is up to twice as long. cloop's own
  /// create_compressed_fs warns beyond 256 KiB.
  static let largestBlock = UInt32(Limits.largestMetadataRead / 2)

  let source: any Storage
  let blockSize: Int
  let count: Int
  private let table: PagedTable<UInt64>
  private let deflate = Deflate(.zlib)

  /// - Throws: `malformed` or `unsupported` for a block size that cannot be, `truncated` where the
  ///   table does not lie within the file.
  init(_ source: any Storage) throws(DiskError) {
    let reader = try source.reader(at: Self.headerOffset, count: 8)
    let size = try reader.u32(at: 0, .big)
    guard size > 0, size % 512 == 0 else {
      throw DiskError(
        .malformed, "a block size of \(size) bytes; it must be a multiple of 512",
        path: source.path, offset: Self.headerOffset.bytes)
    }
    guard size <= Self.largestBlock else {
      throw DiskError(
        .unsupported,
        "a block size of \(size) bytes; blocks of more than \(Self.largestBlock) are not read",
        path: source.path, offset: Self.headerOffset.bytes)
    }
    count = Int(try reader.u32(at: 4, .big))
    blockSize = Int(size)
    self.source = source
    // One more: where the last block ends.
    table = try PagedTable(in: source, at: Self.tableOffset, count: count + 1, .big)
  }

  var tableBytes: UInt64 { table.byteCount }

  func decodedBytes(of index: UInt64) -> Int { blockSize }

  func checksum(of index: UInt64) -> String? { "block Adler-32" }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let place = try place(of: Int(index))
    let compressed = try source.bytes(
      at: FileOffset(place.lowerBound), count: place.count)
    var message = "a compressed block is damaged"
    do throws(DecodingFailure) {
      let given = try deflate.decode(unsafe compressed.span.bytes, into: &buffer)
      if given == blockSize { return }
      message = "a compressed block holds \(given) bytes in place of \(blockSize)"
    } catch {
      if case .tooLong = error { message = "a compressed block holds more than \(blockSize) bytes" }
    }
    throw DiskError(.malformed, message, path: source.path, offset: place.lowerBound)
  }

  /// Where block `index`, which is less than `count`, is in the file.
  ///
  /// - Throws: `malformed` or `truncated` where that cannot be.
  func place(of index: Int) throws(DiskError) -> Range<UInt64> {
    let (start, end) = (try table.entry(index), try table.entry(index + 1))
    let entry = Self.tableOffset.bytes + 8 * UInt64(index)
    guard start < end else {
      throw DiskError(
        .malformed, "block \(index) ends at byte \(end), not behind its start at \(start)",
        path: source.path, offset: entry)
    }
    guard start >= Self.tableOffset.bytes + table.byteCount else {
      throw DiskError(
        .malformed, "block \(index) lies on the image's own header or table, at byte \(start)",
        path: source.path, offset: entry)
    }
    guard end <= source.size else {
      throw DiskError(
        .truncated, "block \(index) ends at byte \(end), past the end of the file",
        path: source.path, offset: entry)
    }
    // Deflate adds five bytes to 65,535 that it cannot compress.
    guard end - start <= UInt64(2 * blockSize) else {
      throw DiskError(
        .malformed, "block \(index) is \(end - start) bytes long, compressed, for \(blockSize)",
        path: source.path, offset: entry)
    }
    return start..<end
  }
}
