internal import Decoders
internal import DiskCore

/// A file that is compressed by zisofs: its blocks one after the other, and a table of where each starts
/// and the last one ends. A block of no bytes is all zeros.
final class ZisofsContent: FileContent, BlockDecoder {
  let size: UInt64
  /// The file as it is stored.
  let source: any Storage
  private let blockSize: UInt64
  private let method: ZisofsHeader.Method
  private let table: Table
  private let deflate = Deflate(.zlib)
  private let zstandard = Zstandard()

  private enum Table {
    case narrow(PagedTable<UInt32>)
    case wide(PagedTable<UInt64>)

    func entry(_ index: Int) throws(DiskError) -> UInt64 {
      switch self {
      case .narrow(let table): UInt64(try table.entry(index))
      case .wide(let table): try table.entry(index)
      }
    }

    func place(_ index: Int) -> UInt64 {
      switch self {
      case .narrow(let table): table.place(of: index).bytes
      case .wide(let table): table.place(of: index).bytes
      }
    }
  }

  /// - Throws: `malformed` or `truncated` for a header or a table that cannot be.
  init(_ stored: ISOContent, _ entry: ZisofsEntry, _ volume: Volume) throws(DiskError) {
    let window = try Disk(ContentLayer(stored, of: volume), within: volume.window.disk).whole
    let storage = WindowStorage(window)
    let header = try ZisofsHeader(storage, entry)
    source = storage
    size = entry.size
    blockSize = 1 << UInt64(entry.blockPower)
    method = header.method
    // One more than there are blocks: where the last one ends. At most 2⁵⁰.
    let count = Int((size + blockSize - 1) / blockSize) + 1
    let start = FileOffset(header.tableStart)
    table =
      header.isWide
      ? .wide(try PagedTable(in: storage, at: start, count: count, .little))
      : .narrow(try PagedTable(in: storage, at: start, count: count, .little))
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = offset.bytes / blockSize
    let within = offset.bytes % blockSize
    let length = UInt64(decodedBytes(of: index)) - within
    do throws(DiskError) {
      if try place(of: index).isEmpty { return Extent(.zero, length: length) }
    } catch {
      return Extent(.unreadable(error), length: length)
    }
    return Extent(.encoded(self, index: index, at: Int(within)), length: length)
  }

  func decodedBytes(of index: UInt64) -> Int { Int(min(blockSize, size - index * blockSize)) }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let place = try place(of: index)
    let stored = try source.bytes(at: FileOffset(place.lowerBound), count: place.count)
    do throws(DecodingFailure) {
      if try decode(stored, into: &buffer) == buffer.byteCount { return }
    } catch {}
    throw DiskError(
      .malformed,
      "block \(index) of a zisofs file is damaged (\(method), \(place.count) bytes for "
        + "\(decodedBytes(of: index)))", path: source.path, offset: place.lowerBound)
  }

  private func decode(
    _ stored: [UInt8], into buffer: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    switch method {
    case .zlib: try deflate.decode(stored, into: &buffer)
    case .xz: try XZ.decode(unsafe stored.span.bytes, into: &buffer)
    case .lz4: try LZ4Block.decode(unsafe stored.span.bytes, into: &buffer)
    case .zstd: try zstandard.decode(unsafe stored.span.bytes, into: &buffer)
    case .bzip2: try Bzip2.decode(unsafe stored.span.bytes, into: &buffer)
    }
  }

  /// Where a block is in the file as it is stored.
  private func place(of index: UInt64) throws(DiskError) -> Range<UInt64> {
    let (start, end) = (try table.entry(Int(index)), try table.entry(Int(index) + 1))
    // No compression makes a block twice as long, but for the headers of very short ones.
    guard start <= end, end <= source.size, end - start <= 2 * blockSize else {
      throw DiskError(
        end > source.size ? .truncated : .malformed,
        "block \(index) of a zisofs file from byte \(start) to \(end) of \(source.size)",
        path: source.path, offset: table.place(Int(index)))
    }
    return start..<end
  }
}
