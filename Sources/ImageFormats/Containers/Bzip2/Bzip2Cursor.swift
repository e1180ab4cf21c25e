internal import Decoders
internal import DiskCore

/// Decodes bzip2 block by block.
///
/// Safe to hand from thread to thread: one uses it at a time.
@safe final class Bzip2Cursor: StreamCursor, @unchecked Sendable {
  /// In bits: 900,000 symbols of at most 20 bits, and tables.
  static let longestBlock = 900_001 * 20 + (64 << 13)
  private static let piece = 256 << 10
  /// How many bytes in a row may hold nothing, as `StoredInput.mostEmpty`: a block is smaller.
  private static let mostEmpty: UInt64 = 4 << 20

  private(set) var position: UInt64
  private let source: any Storage
  private let points: EntryPoints
  private let findings: StreamFindings?
  /// Bytes of the file from `base` on.
  private var bytes: [UInt8] = []
  private var base: UInt64
  /// In bits from `base`: where the next block, end or stream begins.
  private var place: Int
  /// 0 between streams.
  private var level: UInt8
  /// Of the stream, up to here.
  private var checksum: UInt32
  private var hasBegun: Bool
  private var isAtEnd = false
  /// The block that is being decoded, and what of it is still to be taken.
  private var decoder: Bzip2Stream?
  private var block: [UInt8] = []
  private var taken = 0
  private var blockPlace: UInt64 = 0
  /// How many bytes of the file were read since the last that was decoded.
  private var empty: UInt64 = 0
  /// In decoded bytes: where the stream and the block began.
  private var streamStart: UInt64
  private var blockStart: UInt64 = 0

  init(
    _ source: any Storage, at point: EntryPoint, _ points: EntryPoints, _ findings: StreamFindings?
  ) {
    self.findings = findings
    streamStart = point.decoded
    self.source = source
    self.points = points
    position = point.decoded
    hasBegun = point.decoded > 0
    base = point.stored / 8
    place = Int(point.stored % 8)
    level = UInt8(truncatingIfNeeded: point.detail)
    checksum = UInt32(truncatingIfNeeded: point.detail >> 8)
  }

  var trailing: UInt64 { source.size - min(source.size, base + UInt64(place / 8)) }

  /// The level that a stream's first four bytes say; nil where no stream begins.
  static func level(in bytes: [UInt8], at place: Int) -> UInt8? {
    guard place + 4 <= bytes.count, bytes[place..<place + 3].elementsEqual("BZh".utf8),
      (UInt8(ascii: "1")...UInt8(ascii: "9")).contains(bytes[place + 3])
    else { return nil }
    return bytes[place + 3] - UInt8(ascii: "0")
  }

  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
    var done = 0
    while done < buffer.byteCount, !isAtEnd {
      guard let decoder else {
        try beginNext()
        continue
      }
      var piece = buffer._mutatingExtracting(done..<buffer.byteCount)
      let step: StreamStep
      do throws(DecodingFailure) {
        step = try decoder.step(
          unsafe block.span.bytes.extracting(taken..<block.count), into: &piece)
      } catch {
        done += try passWrongChecksum(of: decoder)
        continue
      }
      taken += step.taken
      done += step.given
      position += UInt64(step.given)
      if step.given > 0 { empty = 0 }
      if step.isAtEnd {
        self.decoder = nil
        findings?.right("block CRC-32")
      } else if step.given == 0, taken == block.count {
        throw malformed("a bzip2 block is damaged", at: blockPlace)
      }
    }
    return done
  }

  /// A block gives its bytes before its checksum is compared, and none where it cannot be decoded: one
  /// that gave some is all there, and where somebody checks the stream it goes on behind it.
  ///
  /// - Returns: how many bytes the step that failed gave.
  private func passWrongChecksum(of decoder: Bzip2Stream) throws(DiskError) -> Int {
    let end = blockStart + decoder.given
    guard let findings, end > blockStart else {
      findings?.unread("block CRC-32")
      throw malformed("a bzip2 block is damaged", at: blockPlace)
    }
    findings.wrong(
      "block CRC-32", over: blockStart..<end,
      malformed(
        "the checksum of a bzip2 block is wrong; its length, and so the place of what is behind it, can "
          + "be wrong too", at: blockPlace))
    let given = Int(end - position)
    position = end
    self.decoder = nil
    return given
  }

  private func malformed(_ message: String, at offset: UInt64? = nil) -> DiskError {
    DiskError(
      .malformed, message, path: source.path, offset: offset ?? base + UInt64(place / 8))
  }

  /// Whether there are `count` bits from `place` on.
  private func load(_ count: Int) throws(DiskError) -> Bool {
    while place + count > bytes.count * 8 {
      let end = base + UInt64(bytes.count)
      guard end < source.size else { return false }
      // What was used up goes first.
      let used = min(place / 8, bytes.count)
      bytes.removeFirst(used)
      base += UInt64(used)
      place -= used * 8
      let more = min(UInt64(Self.piece), source.size - end)
      bytes += try source.bytes(at: FileOffset(end), count: Int(more))
      empty += more
      guard empty <= Self.mostEmpty else {
        throw malformed("more than \(Self.mostEmpty) bytes in a row hold nothing")
      }
    }
    return true
  }

  /// At a stream, a block, or a stream's end.
  private func beginNext() throws(DiskError) {
    if level == 0 {
      guard try load(32), let level = Self.level(in: bytes, at: place / 8) else {
        // What is behind the last stream is not of it, as bzip2 has it.
        guard hasBegun else { throw malformed("no bzip2 stream begins here") }
        isAtEnd = true
        return
      }
      self.level = level
      checksum = 0
      streamStart = position
      hasBegun = true
      place += 32
    }
    guard try load(Bzip2Bits.magicBits + 32),
      let magic = Bzip2Bits.number(at: place, Bzip2Bits.magicBits, in: bytes),
      let number = Bzip2Bits.number(at: place + Bzip2Bits.magicBits, 32, in: bytes)
    else { throw truncated() }
    let sum = UInt32(number)
    switch magic {
    case Bzip2Bits.blockMagic: try beginBlock(sum)
    case Bzip2Bits.endMagic:
      try findings.compare(
        sum == checksum, "stream CRC-32", over: streamStart..<position,
        malformed("the checksum of a bzip2 stream is wrong"))
      place = (place + Bzip2Bits.magicBits + 32 + 7) / 8 * 8
      level = 0
    default: throw malformed("no bzip2 block begins here")
    }
  }

  private func beginBlock(_ sum: UInt32) throws(DiskError) {
    let stored = base * 8 + UInt64(place)
    if points.wants(position) {
      points.add(
        EntryPoint(
          decoded: position, stored: stored, detail: UInt64(checksum) << 8 | UInt64(level)))
    }
    blockPlace = stored / 8
    blockStart = position
    // The block ends where the next magic is: chance alone makes one in 2⁴⁸ bits.
    var searched = Bzip2Bits.magicBits + 32
    var end: Int?
    while end == nil {
      end = Bzip2Bits.nextMagic(in: bytes, from: place + searched)
      guard end == nil else { break }
      searched = max(searched, bytes.count * 8 - place - Bzip2Bits.magicBits - 7)
      guard searched <= Self.longestBlock else {
        throw malformed("a bzip2 block does not end", at: blockPlace)
      }
      guard try load(bytes.count * 8 - place + 8) else { throw truncated() }
    }
    guard let end else { return }
    block = Bzip2Bits.stream(of: place..<end, in: bytes, level: level, checksum: sum)
    taken = 0
    decoder = Bzip2Stream()
    if decoder == nil { throw DiskError(.unavailable, "no memory for bzip2", path: source.path) }
    checksum = (checksum << 1 | checksum >> 31) ^ sum
    place = end
  }

  private func truncated() -> DiskError {
    DiskError(
      .truncated, "the file ends within a bzip2 stream", path: source.path, offset: source.size)
  }
}
