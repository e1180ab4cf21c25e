internal import Decoders
internal import DiskCore

/// All chunks of a DMG, in the order of the disk, and what decodes them.
final class DMGChunks: BlockDecoder {
  let source: any Storage
  /// Ascending, not overlapping; there can be gaps.
  let all: [DMGChunk]
  private let deflate = Deflate(.zlib)

  /// - Throws: `malformed` where two chunks are of the same sectors.
  init(_ source: any Storage, _ chunks: [DMGChunk]) throws(DiskError) {
    self.source = source
    all = chunks.sorted { $0.range.lowerBound < $1.range.lowerBound }
    var end: UInt64 = 0
    for chunk in all {
      guard chunk.range.lowerBound >= end else {
        throw DiskError(
          .malformed,
          "two chunks hold sector \(chunk.range.lowerBound / DMG.sectorBytes) of the disk",
          path: source.path, offset: chunk.start)
      }
      end = chunk.range.upperBound
    }
  }

  /// Where the last chunk ends, in bytes.
  var end: UInt64 { all.last?.range.upperBound ?? 0 }

  /// The number of the first chunk that ends behind `offset`: the one that holds it, or the next one
  /// where it is in a gap.
  func index(at offset: UInt64) -> Int {
    var (low, high) = (0, all.count)
    while low < high {
      let middle = (low + high) / 2
      if all[middle].range.upperBound <= offset { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Where the byte `within` of chunk `index` is.
  func extent(of index: Int, from within: UInt64) -> Extent {
    let chunk = all[index]
    let left = chunk.size - within
    switch chunk.kind {
    case .zero, .ignored: return Extent(.zero, length: left)
    case .raw: return raw(chunk, from: within)
    default:
      do throws(DiskError) {
        try check(chunk)
      } catch {
        return Extent(.unreadable(error), length: left)
      }
      return Extent(.encoded(self, index: UInt64(index), at: Int(within)), length: left)
    }
  }

  /// What a raw chunk does not have of its sectors is missing, not zero.
  private func raw(_ chunk: DMGChunk, from within: UInt64) -> Extent {
    let inFile = source.size - min(source.size, chunk.start)
    let stored = min(chunk.size, chunk.length, inFile)
    guard within < stored else {
      let error = failure(
        inFile < min(chunk.size, chunk.length) ? .truncated : .malformed,
        "a raw chunk holds \(stored) bytes in place of \(chunk.size)", chunk)
      return Extent(.unreadable(error), length: chunk.size - within)
    }
    return Extent(.stored(source, at: FileOffset(chunk.start + within)), length: stored - within)
  }

  func decodedBytes(of index: UInt64) -> Int { Int(all[Int(index)].size) }

  func checksum(of index: UInt64) -> String? {
    switch all[Int(index)].kind {
    case .zlib: "chunk Adler-32"
    case .bzip2: "chunk bzip2 CRC-32"
    case .lzma: "chunk xz check"
    default: nil
    }
  }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let chunk = all[Int(index)]
    try check(chunk)
    let stored = try source.bytes(at: FileOffset(chunk.start), count: Int(chunk.length))
    var message = "a \(name(of: chunk)) chunk is damaged"
    do throws(DecodingFailure) {
      let given = try decode(stored, chunk.kind, into: &buffer)
      if given == buffer.byteCount { return }
      message = "a \(name(of: chunk)) chunk holds \(given) bytes in place of \(chunk.size)"
    } catch {
      if case .tooLong = error {
        message = "a \(name(of: chunk)) chunk holds more than \(chunk.size) bytes"
      }
    }
    throw failure(.malformed, message, chunk)
  }

  private func decode(
    _ stored: [UInt8], _ kind: DMGChunk.Kind?, into buffer: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    switch kind {
    case .adc: try ADC.decode(unsafe stored.span.bytes, into: &buffer)
    case .zlib: try deflate.decode(stored, into: &buffer)
    case .bzip2: try Bzip2.decode(unsafe stored.span.bytes, into: &buffer)
    case .lzma: try XZ.decode(unsafe stored.span.bytes, into: &buffer)
    // None of these is a block for a decoder.
    case .zero, .raw, .ignored, .lzfse, nil: throw .damaged
    }
  }

  /// - Throws: why a compressed chunk cannot be decoded, as far as its table says.
  private func check(_ chunk: DMGChunk) throws(DiskError) {
    switch chunk.kind {
    case .lzfse:
      throw failure(.unsupported, "a chunk compressed with LZFSE, which is not read", chunk)
    case nil:
      throw failure(
        .unsupported, "a chunk of the type 0x\(String(chunk.type, radix: 16)), which is not known",
        chunk)
    default: break
    }
    let most = UInt64(Limits.largestBlock)
    guard chunk.size <= most else {
      throw failure(
        .unsupported,
        "a \(name(of: chunk)) chunk of \(chunk.size) bytes; chunks of more than \(most) are not read",
        chunk)
    }
    guard chunk.length <= UInt64(Limits.largestMetadataRead) else {
      throw failure(
        .malformed, "a \(name(of: chunk)) chunk takes \(chunk.length) bytes for \(chunk.size)",
        chunk)
    }
    guard chunk.start <= source.size, chunk.length <= source.size - chunk.start else {
      throw failure(
        .truncated,
        "a \(name(of: chunk)) chunk of \(chunk.length) bytes reaches past the end of the file",
        chunk)
    }
  }

  private func name(of chunk: DMGChunk) -> String { chunk.kind.map { "\($0)" } ?? "" }

  private func failure(
    _ kind: DiskError.Kind, _ message: String, _ chunk: DMGChunk
  ) -> DiskError {
    DiskError(kind, message, path: source.path, offset: chunk.start)
  }
}
