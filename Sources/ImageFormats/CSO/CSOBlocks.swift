internal import Decoders
internal import DiskCore

/// The blocks of a compressed disc image: an index of where each starts, and for each a deflate stream
/// or an LZ4 block, or its bytes as they are (maxcso's README_CSO.md and README_ZSO.md).
final class CSOBlocks: BlockDecoder {
  enum Coding {
    case plain
    case deflate
    case lz4
  }

  struct Block {
    let coding: Coding
    /// In the file. Where the index counts in units of more than a byte it may end with padding, or
    /// with what is behind the last block.
    let place: Range<UInt64>
  }

  let source: any Storage
  let header: CSOHeader
  private let index: PagedTable<UInt32>
  private let deflate = Deflate(.none)

  /// - Throws: what `CSOHeader` throws; `truncated` where the index does not lie within the file.
  init(_ source: any Storage) throws(DiskError) {
    self.source = source
    header = try CSOHeader(source.reader(at: .start, count: CSOHeader.byteCount))
    // One more: where the last block ends.
    index = try PagedTable(
      in: source, at: FileOffset(UInt64(CSOHeader.byteCount)), count: header.blockCount + 1,
      .little)
  }

  var tableBytes: UInt64 { index.byteCount }

  /// Block `number`, which is less than `header.blockCount`.
  ///
  /// - Throws: `malformed` or `truncated` where it cannot be where the index says.
  func block(_ number: Int) throws(DiskError) -> Block {
    let entry = try index.entry(number)
    let start = offset(entry)
    let end = offset(try index.entry(number + 1))
    func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(
        kind, "block \(number) " + message, path: source.path,
        offset: index.place(of: number).bytes)
    }
    // Some writers round the end of the last block down.
    let missing = number == header.blockCount - 1 ? header.unit - 1 : 0
    guard start < end + missing, start <= end else {
      throw failure(.malformed, "ends at byte \(end), not behind its start at \(start)")
    }
    guard start >= UInt64(CSOHeader.byteCount) + index.byteCount else {
      throw failure(.malformed, "lies on the image's own header or index, at byte \(start)")
    }
    // Padding behind the last block may have been left out.
    guard start < source.size, end - min(end, source.size) < header.unit else {
      throw failure(.truncated, "ends at byte \(end), past the end of the file")
    }
    let coding = coding(of: entry, length: end - start)
    let place = start..<min(end + missing, source.size)
    if coding == .plain, place.count < header.contentBytes(of: number) {
      throw failure(
        end >= source.size ? .truncated : .malformed,
        "is stored as it is in \(place.count) bytes, but has \(header.contentBytes(of: number))")
    }
    return Block(coding: coding, place: place)
  }

  /// How many blocks from `number` on have no bytes, by entries that are all the same: a walk over a bad
  /// index takes them as one. The last block is not among them, unless it is the only one.
  func emptyBlocks(from number: Int) -> Int {
    guard let page = try? index.page(holding: number) else { return 1 }
    let most = header.blockCount - number
    return max(1, min(page.run(from: number, step: 0, most: most) - 1, most - 1))
  }

  func decodedBytes(of index: UInt64) -> Int { header.blockSize }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let block = try block(Int(index))
    let start = block.place.lowerBound
    // What can be compressed is never twice as long: what is beyond that is padding.
    let bytes = try source.bytes(
      at: FileOffset(start), count: min(block.place.count, 2 * header.blockSize))
    let wanted = header.contentBytes(of: Int(index))
    var message = "a compressed block is damaged"
    do throws(DecodingFailure) {
      let given = try decode(bytes, block.coding, wanted: wanted, into: &buffer)
      // Some writers fill the last block up.
      if given >= wanted { return }
      message = "a compressed block holds \(given) bytes in place of \(wanted)"
    } catch {
      if case .tooLong = error {
        message = "a compressed block holds more than \(header.blockSize) bytes"
      }
    }
    throw DiskError(.malformed, message, path: source.path, offset: start)
  }

  private func decode(
    _ bytes: [UInt8], _ coding: Coding, wanted: Int, into buffer: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    let stored = unsafe bytes.span.bytes
    switch coding {
    case .plain, .deflate: return try deflate.decode(stored, into: &buffer)
    case .lz4 where header.unit == 1: return try LZ4Block.decode(stored, into: &buffer)
    case .lz4:
      // With padding behind it nothing but the disc's own size says where the block ends.
      var content = buffer._mutatingExtracting(first: wanted)
      return try LZ4Block.decode(startOf: stored, into: &content)
    }
  }

  /// The high bit of an entry says how the block is stored, the others where.
  private func offset(_ entry: UInt32) -> UInt64 { UInt64(entry & 0x7fff_ffff) * header.unit }

  private func coding(of entry: UInt32, length: UInt64) -> Coding {
    let isMarked = entry >> 31 == 1
    switch header.variant {
    case .version1: return isMarked ? .plain : .deflate
    case .zso: return isMarked ? .plain : .lz4
    case .version2:
      if length >= UInt64(header.blockSize) { return .plain }
      return isMarked ? .lz4 : .deflate
    }
  }
}
