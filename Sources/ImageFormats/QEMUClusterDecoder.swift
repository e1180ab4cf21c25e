internal import Decoders
internal import DiskCore

/// The compressed clusters of a QCOW or QCOW2 image, by their descriptors: what a table's entry has
/// besides its flags. The low bits say where the data starts, aligned to nothing, the high ones how
/// much there is.
final class QEMUClusterDecoder: BlockDecoder {
  enum Compression: UInt8, Sendable {
    case zlib = 0
    case zstd = 1
  }

  /// What a descriptor's high bits count.
  enum Unit: Sendable {
    case bytes
    /// Sectors of 512 bytes that the data reaches into beyond its first one.
    case moreSectors
  }

  private enum Codec: Sendable {
    case deflate(Deflate)
    case zstd(Zstandard)
  }

  let source: any Storage
  private let clusterSize: Int
  private let placeBits: UInt64
  private let unit: Unit
  private let codec: Codec

  /// - Parameter placeBits: how many bits of a descriptor say where the data starts.
  init(
    _ source: any Storage, clusterBits: UInt32, placeBits: UInt32, unit: Unit,
    _ compression: Compression
  ) {
    self.source = source
    self.placeBits = UInt64(placeBits)
    self.unit = unit
    clusterSize = 1 << Int(clusterBits)
    codec =
      switch compression {
      case .zlib: .deflate(Deflate(.none))
      case .zstd: .zstd(Zstandard())
      }
  }

  /// Where the data of a cluster starts in the file.
  func start(of descriptor: UInt64) -> UInt64 { descriptor & (1 << placeBits - 1) }

  func decodedBytes(of index: UInt64) -> Int { clusterSize }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let start = start(of: index)
    guard start < source.size else {
      throw DiskError(
        .truncated, "a compressed cluster lies past the end of the file", path: source.path,
        offset: start)
    }
    let size = index >> placeBits
    // The file may end before the last sector does.
    let count = min(
      unit == .bytes ? size : (size + 1) * 512 - start % 512, source.size - start,
      UInt64(Limits.largestMetadataRead))
    let bytes = try source.bytes(at: FileOffset(start), count: Int(count))
    do throws(DecodingFailure) {
      let given =
        switch codec {
        case .deflate(let codec): try codec.decode(unsafe bytes.span.bytes, into: &buffer)
        case .zstd(let codec): try codec.decode(unsafe bytes.span.bytes, into: &buffer)
        }
      if given == buffer.byteCount { return }
    } catch {}
    throw DiskError(
      .malformed, "a compressed cluster is damaged: it does not give \(clusterSize) bytes",
      path: source.path, offset: start)
  }
}
