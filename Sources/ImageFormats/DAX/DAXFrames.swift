internal import Decoders
internal import DiskCore

/// The frames of a DAX image: 8 KiB each, in zlib streams, but for those in a few areas that are not
/// compressed (daxfile.h of DAX Creator 0.3, by Dark_AleX, and what that program writes).
///
/// Behind the header stand the offset of each frame (32 bits), the length of each (16 bits), and the
/// areas, all little-endian.
final class DAXFrames: BlockDecoder {
  static let magic: [UInt8] = Array("DAX\0".utf8)
  static let frameBytes = 8192
  private static let headerBytes = 32
  /// MAX_NCAREAS.
  private static let mostAreas: UInt32 = 192

  let source: any Storage
  /// Of the disc, in bytes.
  let size: UInt64
  let version: UInt32
  private let offsets: PagedTable<UInt32>
  private let lengths: PagedTable<UInt16>
  /// Frames that are stored as they are.
  private let plain: [Range<UInt64>]
  private let dataStart: UInt64
  private let deflate = Deflate(.zlib)

  /// - Throws: `unsupported` for other versions, `malformed` for more areas than there can be,
  ///   `truncated` where the tables do not lie within the file.
  init(_ source: any Storage) throws(DiskError) {
    self.source = source
    let header = try source.reader(at: .start, count: Self.headerBytes)
    size = UInt64(try header.u32(at: 4))
    version = try header.u32(at: 8)
    guard version <= 1 else {
      throw DiskError(
        .unsupported, "version \(version) of the format is not read", path: source.path, offset: 8)
    }
    let frames = Int((size + UInt64(Self.frameBytes) - 1) / UInt64(Self.frameBytes))
    offsets = try PagedTable(
      in: source, at: FileOffset(UInt64(Self.headerBytes)), count: frames, .little)
    let lengthsAt = FileOffset(UInt64(Self.headerBytes) + offsets.byteCount)
    lengths = try PagedTable(in: source, at: lengthsAt, count: frames, .little)
    // Version 0 has no areas, and anything where their number is.
    let count = version == 0 ? 0 : try header.u32(at: 12)
    guard count <= Self.mostAreas else {
      throw DiskError(
        .malformed, "\(count) uncompressed areas; there are at most \(Self.mostAreas)",
        path: source.path, offset: 12)
    }
    let areasAt = lengthsAt + lengths.byteCount
    let areas = try source.reader(at: areasAt, count: 8 * Int(count))
    plain = try Self.areas(areas, count: Int(count))
    dataStart = areasAt.bytes + UInt64(areas.count)
  }

  private static func areas(
    _ reader: ByteReader, count: Int
  ) throws(DiskError) -> [Range<UInt64>] {
    var areas: [Range<UInt64>] = []
    for index in 0..<count {
      let first = UInt64(try reader.u32(at: 8 * index))
      areas.append(first..<first + UInt64(try reader.u32(at: 8 * index + 4)))
    }
    return areas
  }

  var tableBytes: UInt64 { offsets.byteCount + lengths.byteCount }

  var areaCount: Int { plain.count }

  func isPlain(_ frame: UInt64) -> Bool { plain.contains { $0.contains(frame) } }

  /// How many bytes of the disc `frame` holds: all have `frameBytes`, the last may have fewer.
  func contentBytes(of frame: UInt64) -> Int {
    Int(min(UInt64(Self.frameBytes), size - frame * UInt64(Self.frameBytes)))
  }

  /// Where `frame`, one of the disc's, is in the file.
  ///
  /// - Throws: `malformed` or `truncated` where that cannot be.
  func place(of frame: UInt64) throws(DiskError) -> Range<UInt64> {
    let start = UInt64(try offsets.entry(Int(frame)))
    // The length of one that is not compressed counts a whole frame, also for the last.
    let length =
      isPlain(frame) ? UInt64(contentBytes(of: frame)) : UInt64(try lengths.entry(Int(frame)))
    func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(
        kind, "frame \(frame) " + message, path: source.path,
        offset: offsets.place(of: Int(frame)).bytes)
    }
    guard start >= dataStart else {
      throw failure(.malformed, "lies on the image's own header or tables, at byte \(start)")
    }
    guard start + length <= source.size else {
      throw failure(.truncated, "ends at byte \(start + length), past the end of the file")
    }
    return start..<start + length
  }

  func decodedBytes(of index: UInt64) -> Int { Self.frameBytes }

  func checksum(of index: UInt64) -> String? { "frame Adler-32" }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    let place = try place(of: index)
    let bytes = try source.bytes(at: FileOffset(place.lowerBound), count: place.count)
    let wanted = contentBytes(of: index)
    var message = "a compressed frame is damaged"
    do throws(DecodingFailure) {
      let given = try deflate.decode(bytes, into: &buffer)
      if given >= wanted { return }
      message = "a compressed frame holds \(given) bytes in place of \(wanted)"
    } catch {
      if case .tooLong = error {
        message = "a compressed frame holds more than \(Self.frameBytes) bytes"
      }
    }
    throw DiskError(.malformed, message, path: source.path, offset: place.lowerBound)
  }
}
