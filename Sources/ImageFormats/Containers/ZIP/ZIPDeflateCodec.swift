internal import Decoders
internal import DiskCore

/// A deflated member: one bare deflate stream, whose size and checksum the directory has.
///
/// Entry points are as those of gzip: borders of deflate blocks, in bits, with the 32 KiB before them;
/// their detail is the checksum up to there.
struct ZIPDeflateCodec: StreamCodec {
  let source: any Storage
  /// In the file.
  let data: Range<UInt64>
  let size: UInt64
  let checksum: UInt32

  var cursorMemory: Int { InflateStream.memory + StoredInput.piece }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    try ZIPDeflateCursor(self, at: point, points, findings)
  }
}

/// Safe to hand from thread to thread: one uses it at a time.
@safe private final class ZIPDeflateCursor: StreamCursor, @unchecked Sendable {
  private(set) var position: UInt64
  let trailing: UInt64 = 0
  private let member: ZIPDeflateCodec
  private var input: StoredInput
  private let points: EntryPoints
  private let findings: StreamFindings?
  private let inflating: InflateStream
  /// Up to here.
  private var checksum: UInt32
  private var isAtEnd = false

  init(
    _ member: ZIPDeflateCodec, at point: EntryPoint, _ points: EntryPoints,
    _ findings: StreamFindings?
  ) throws(DiskError) {
    self.findings = findings
    self.member = member
    self.points = points
    position = point.decoded
    checksum = UInt32(truncatingIfNeeded: point.detail)
    // A kept index is data too.
    let start = max(member.data.lowerBound, min(point.stored / 8, member.data.upperBound))
    input = StoredInput(member.source, at: start)
    var inflating: InflateStream?
    if point.window.isEmpty {
      inflating = InflateStream()
    } else {
      let window: [UInt8]
      do throws(DecodingFailure) {
        window = try point.window.bytes(atMost: InflateStream.windowSize)
      } catch {
        throw input.malformed("an entry point of the stream is damaged")
      }
      let bits = Int(point.stored % 8)
      let value =
        bits == 0 ? 0 : try input.next(1, of: "a deflate block").u8(at: 0) >> UInt8(bits)
      inflating = InflateStream(bits: (8 - bits) % 8, value: value, window: window)
    }
    guard let inflating else { throw DiskError(.unavailable, "no memory to inflate") }
    self.inflating = inflating
  }

  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
    var done = 0
    while done < buffer.byteCount, !isAtEnd {
      let place = input.place
      let left = Int(member.data.upperBound - min(place, member.data.upperBound))
      _ = try input.fill()
      var piece = buffer._mutatingExtracting(done..<buffer.byteCount)
      let step: StreamStep
      do throws(DecodingFailure) {
        step = try input.step(inflating, into: &piece, atMost: left)
      } catch {
        if let findings {
          position = inflating.given
          findings.unread("member CRC-32")
        }
        throw input.malformed("the deflate data is damaged", at: place)
      }
      if step.given > 0 {
        let given = buffer._mutatingExtracting(done..<done + step.given)
        checksum = CRC32.of(given.bytes, after: checksum)
        position += UInt64(step.given)
        done += step.given
      }
      if position > member.size {
        findings?.unread("member CRC-32")
        throw input.malformed("the member holds more than the \(member.size) bytes it should")
      }
      if step.isAtEnd {
        try checkEnd()
      } else if step.given == 0, step.taken == 0 {
        throw input.malformed("the deflate data has no end")
      } else if let bits = inflating.bitsBeforeBlock, points.wants(position),
        // One without a window is the member's start.
        case let window = PackedBytes(inflating.window), !window.isEmpty
      {
        points.add(
          EntryPoint(
            decoded: position, stored: input.place * 8 - UInt64(bits), detail: UInt64(checksum),
            window: window))
      }
    }
    return done
  }

  private func checkEnd() throws(DiskError) {
    isAtEnd = true
    guard position == member.size else {
      findings?.unread("member CRC-32")
      throw input.malformed(
        "the member holds \(position) bytes in place of \(member.size)")
    }
    try findings.compare(
      checksum == member.checksum, "member CRC-32", over: 0..<position,
      input.malformed("the checksum of the member that ends here is wrong"))
  }
}
