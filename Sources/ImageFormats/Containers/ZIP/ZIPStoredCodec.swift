internal import Decoders
internal import DiskCore

/// A member that is stored as it is: every byte is an entry point.
struct ZIPStoredCodec: StreamCodec {
  let source: any Storage
  let size: UInt64
  let checksum: UInt32

  /// In bytes; nothing has to be decoded on the way to a place.
  private static let distance: UInt64 = 1 << 20

  /// Those to give for data at `place` in the file.
  static func points(_ place: Range<UInt64>) -> EntryPoints {
    let count = UInt64(place.count)
    let distance = max(Self.distance, count / UInt64(EntryPoints.mostPoints / 2))
    let points = stride(from: 0, to: max(1, count), by: Int(distance)).map { offset in
      EntryPoint(decoded: UInt64(offset), stored: place.lowerBound + UInt64(offset))
    }
    return EntryPoints(points, end: count, isComplete: true)
  }

  var cursorMemory: Int { 0 }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    ZIPStoredCursor(
      source, at: point, end: min(size, point.decoded + (length ?? size - point.decoded)),
      findings.map { ($0, checksum) })
  }

  /// The checksum is of all of it.
  func sections(_ points: EntryPoints) -> [EntryPoint] { [points.all[0]] }
}

/// Safe to hand from thread to thread: one uses it at a time.
@safe private final class ZIPStoredCursor: StreamCursor, @unchecked Sendable {
  private(set) var position: UInt64
  let trailing: UInt64 = 0
  private let source: any Storage
  /// From decoded offsets to places in the file.
  private let shift: UInt64
  private let end: UInt64
  /// For who checks the stream: what is to come out, and of what was given so far.
  private let check: (findings: StreamFindings, recorded: UInt32)?
  private var checksum: UInt32 = 0

  init(
    _ source: any Storage, at point: EntryPoint, end: UInt64,
    _ check: (findings: StreamFindings, recorded: UInt32)?
  ) {
    self.check = check
    self.source = source
    position = point.decoded
    shift = point.stored &- point.decoded
    self.end = end
  }

  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
    let count = Int(min(UInt64(buffer.byteCount), end - position))
    var piece = buffer._mutatingExtracting(0..<count)
    try source.read(at: FileOffset(position + shift), into: &piece)
    position += UInt64(count)
    if let check, count > 0 {
      checksum = CRC32.of(piece.bytes, after: checksum)
      if position == end {
        try Optional(check.findings).compare(
          checksum == check.recorded, "member CRC-32", over: 0..<end,
          DiskError(
            .malformed, "the checksum of the member that ends here is wrong", path: source.path,
            offset: end &+ shift))
      }
    }
    return count
  }
}
