internal import Decoders
internal import DiskCore

/// gzip members one after the other (RFC 1952).
///
/// Entry points are the borders of deflate blocks, in bits, with the 32 KiB before them; their detail
/// is the member's checksum so far in the upper half, and its length so far, mod 2³², in the lower.
struct GzipCodec: StreamCodec {
  let source: any Storage

  var cursorMemory: Int { InflateStream.memory + StoredInput.piece }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    try GzipCursor(source, at: point, points, findings)
  }
}

/// Safe to hand from thread to thread: one uses it at a time.
@safe final class GzipCursor: StreamCursor, @unchecked Sendable {
  private(set) var position: UInt64
  private var input: StoredInput
  private let points: EntryPoints
  private let findings: StreamFindings?
  /// Nil between members.
  private var inflating: InflateStream?
  /// Of the member, up to here.
  private var checksum: UInt32 = 0
  private var memberLength: UInt32 = 0
  private var memberStart: UInt64
  private var isAtEnd = false
  /// Whether a member was seen.
  private var hasBegun: Bool

  var trailing: UInt64 { input.storage.size - min(input.place, input.storage.size) }

  init(
    _ source: any Storage, at point: EntryPoint, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) {
    self.findings = findings
    memberStart = point.decoded
    position = point.decoded
    // Where an entry point is without a window there was a member.
    hasBegun = !point.window.isEmpty
    self.points = points
    let bits = Int(point.stored % 8)
    input = StoredInput(source, at: point.stored / 8)
    guard !point.window.isEmpty else { return }
    checksum = UInt32(truncatingIfNeeded: point.detail >> 32)
    memberLength = UInt32(truncatingIfNeeded: point.detail)
    let window: [UInt8]
    do throws(DecodingFailure) {
      window = try point.window.bytes(atMost: InflateStream.windowSize)
    } catch {
      throw input.malformed("an entry point of the stream is damaged")
    }
    let value = bits == 0 ? 0 : try input.next(1, of: "a deflate block").u8(at: 0) >> UInt8(bits)
    inflating = InflateStream(bits: (8 - bits) % 8, value: value, window: window)
    if inflating == nil { throw DiskError(.unavailable, "no memory to inflate") }
  }

  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
    var done = 0
    while done < buffer.byteCount, !isAtEnd {
      guard let inflating else {
        try beginMember()
        continue
      }
      let there = try input.fill()
      var piece = buffer._mutatingExtracting(done..<buffer.byteCount)
      let place = input.place
      let step: StreamStep
      do throws(DecodingFailure) {
        step = try input.step(inflating, into: &piece)
      } catch {
        if let findings {
          position = memberStart + inflating.given
          for kind in ["member CRC-32", "member length"] { findings.unread(kind) }
        }
        throw input.malformed("the deflate data is damaged", at: place)
      }
      if step.given > 0 {
        let given = buffer._mutatingExtracting(done..<done + step.given)
        checksum = CRC32.of(given.bytes, after: checksum)
        memberLength &+= UInt32(step.given)
        position += UInt64(step.given)
        done += step.given
      }
      if step.isAtEnd {
        try endMember()
      } else if step.given == 0, step.taken == 0, there == 0 {
        throw input.truncated("a gzip member")
      } else if let bits = inflating.bitsBeforeBlock, points.wants(position),
        // One without a window is a member's start.
        case let window = PackedBytes(inflating.window), !window.isEmpty
      {
        points.add(
          EntryPoint(
            decoded: position, stored: input.place * 8 - UInt64(bits),
            detail: UInt64(checksum) << 32 | UInt64(memberLength),
            window: window))
      }
    }
    return done
  }

  /// At the start of a member, or behind the last one.
  private func beginMember() throws(DiskError) {
    guard try GzipHeader.isNext(in: &input) else {
      // Padding of tapes and blocks, or rubbish: gzip ignores both, and so does this.
      guard hasBegun else { throw input.malformed("no gzip member begins here") }
      isAtEnd = true
      return
    }
    hasBegun = true
    if points.wants(position) {
      points.add(EntryPoint(decoded: position, stored: input.place * 8))
    }
    try GzipHeader.skip(in: &input, at: position, findings)
    inflating = InflateStream()
    checksum = 0
    memberLength = 0
    memberStart = position
    if inflating == nil { throw DiskError(.unavailable, "no memory to inflate") }
  }

  /// At a member's checksum and length.
  private func endMember() throws(DiskError) {
    inflating = nil
    let place = input.place
    let trailer = try input.next(8, of: "a gzip member's checksum")
    try findings.compare(
      try trailer.u32(at: 0) == checksum, "member CRC-32", over: memberStart..<position,
      input.malformed("the checksum of the gzip member that ends here is wrong", at: place))
    try findings.compare(
      try trailer.u32(at: 4) == memberLength, "member length", over: memberStart..<position,
      input.malformed("the length of the gzip member that ends here is wrong", at: place))
  }
}
