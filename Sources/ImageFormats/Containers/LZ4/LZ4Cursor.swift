internal import Decoders
internal import DiskCore

/// Decodes LZ4 frames block by block.
///
/// Safe to hand from thread to thread: one uses it at a time.
@safe final class LZ4Cursor: StreamCursor, @unchecked Sendable {
  private enum Place {
    case betweenFrames
    case inFrame(LZ4Frame, LZ4FrameStream)
    case inLegacy
  }

  private(set) var position: UInt64
  private var input: StoredInput
  private let points: EntryPoints
  private let findings: StreamFindings?
  private var place: Place
  private var hasBegun: Bool
  private var isAtEnd = false
  /// How many bytes of the file liblz4 still has to take, of one block or of a header.
  private var left = 0
  /// Where in the file they began.
  private var begin: UInt64 = 0
  /// In decoded bytes.
  private var frameStart: UInt64
  /// Whether the decoder has been given all of a frame but what follows its blocks.
  private var isEnding = false
  /// Of a frame that was entered at a block: liblz4 does not know of its content's checksum.
  private var skipsChecksum = false
  /// What later blocks of the frame can refer to; kept where they can.
  private var window: [UInt8] = []
  /// A legacy block, decoded, and how much of it was given.
  private var decoded: [UInt8] = []
  private var given = 0

  init(
    _ source: any Storage, at point: EntryPoint, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) {
    self.findings = findings
    frameStart = point.decoded
    position = point.decoded
    self.points = points
    input = StoredInput(source, at: point.stored)
    // Where an entry point is outside of a frame there was one.
    hasBegun = point.detail != 0
    place = .betweenFrames
    if point.detail == LZ4Codec.insideLegacy { place = .inLegacy }
    guard point.detail & LZ4Codec.insideFrame != 0 else { return }
    let frame = LZ4Frame(
      flags: UInt8(truncatingIfNeeded: point.detail),
      descriptor: UInt8(truncatingIfNeeded: point.detail >> 8))
    do throws(DecodingFailure) {
      window = try point.window.bytes(atMost: LZ4FrameStream.windowSize)
    } catch {
      throw input.malformed("an entry point of the stream is damaged")
    }
    guard let frame else { throw input.malformed("an entry point of the stream is damaged") }
    let decoder = try Self.decoder()
    place = .inFrame(frame, decoder)
    skipsChecksum = true
    try prime(decoder, frame.start(window: window))
  }

  /// Brings the decoder to where an entry point is, past a frame's start that the file does not have.
  private func prime(_ decoder: LZ4FrameStream, _ start: [UInt8]) throws(DiskError) {
    var scratch = [UInt8](repeating: 0, count: LZ4FrameStream.windowSize)
    var elements = scratch.mutableSpan
    var buffer = unsafe elements.mutableBytes
    var taken = 0
    var given = 0
    while taken < start.count || given < window.count {
      do throws(DecodingFailure) {
        let step = try decoder.step(
          unsafe start.span.bytes.extracting(taken..<start.count), into: &buffer)
        guard step.taken > 0 || step.given > 0 else { throw .damaged }
        taken += step.taken
        given += step.given
      } catch {
        throw input.malformed("an entry point of the stream is damaged")
      }
    }
  }

  var trailing: UInt64 { input.storage.size - min(input.place, input.storage.size) }

  private static func decoder() throws(DiskError) -> LZ4FrameStream {
    guard let decoder = LZ4FrameStream() else {
      throw DiskError(.unavailable, "no memory for an LZ4 decoder")
    }
    return decoder
  }

  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
    var done = 0
    while done < buffer.byteCount, !isAtEnd {
      var piece = buffer._mutatingExtracting(done..<buffer.byteCount)
      switch place {
      case .betweenFrames: try beginFrame()
      case .inFrame(let frame, let decoder): done += try step(frame, decoder, &piece)
      case .inLegacy: done += try stepLegacy(&piece)
      }
    }
    return done
  }

  private func beginFrame() throws(DiskError) {
    let head = ByteReader(Array(try input.peek(LZ4Frame.longestHeader)))
    let magic = try? head.u32(at: 0)
    if let magic, LZ4Frame.isSkippable(magic), let length = try? head.u32(at: 4) {
      input.skip(8 + UInt64(length))
    } else if magic == LZ4Frame.legacyMagic {
      note(0)
      hasBegun = true
      place = .inLegacy
      input.skip(4)
    } else if magic == LZ4Frame.magic {
      guard let flags = try? head.u8(at: 4), let descriptor = try? head.u8(at: 5),
        let frame = LZ4Frame(flags: flags, descriptor: descriptor)
      else { throw input.malformed("an LZ4 frame's header is damaged") }
      guard !frame.needsDictionary else {
        throw DiskError(
          .unsupported, "an LZ4 frame that needs a dictionary", path: input.storage.path,
          offset: input.place)
      }
      note(0)
      hasBegun = true
      place = .inFrame(frame, try Self.decoder())
      begin = input.place
      frameStart = position
      left = frame.headerSize
      isEnding = false
      skipsChecksum = false
      window = []
    } else {
      // What is behind the last frame is not of it.
      guard hasBegun else { throw input.malformed("no LZ4 frame begins here") }
      isAtEnd = true
    }
  }

  /// Keeps an entry point here.
  private func note(_ detail: UInt64) {
    guard points.wants(position) else { return }
    points.add(
      EntryPoint(
        decoded: position, stored: input.place, detail: detail, window: PackedBytes(window)))
  }

  private func step(
    _ frame: LZ4Frame, _ decoder: LZ4FrameStream, _ piece: inout MutableRawSpan
  ) throws(DiskError) -> Int {
    if left > 0, try input.fill() == 0 { throw input.truncated("an LZ4 frame") }
    let step: StreamStep
    do throws(DecodingFailure) {
      step = try input.step(decoder, into: &piece, atMost: left)
    } catch {
      if !isEnding, frame.contentChecksumSize > 0 { findings?.unread("frame content checksum") }
      guard isEnding else { throw input.failure(error, in: "an LZ4 block", at: begin) }
      try findings.compare(
        false, "frame content checksum", over: frameStart..<position,
        input.malformed(
          "the size or the checksum of the LZ4 frame that ends here is wrong", at: begin))
      input.skip(begin + UInt64(4 + frame.contentChecksumSize) - input.place)
      left = 0
      place = .betweenFrames
      return 0
    }
    left -= step.taken
    position += UInt64(step.given)
    if step.given > 0, !frame.isIndependent, frame.hasEntryPoints {
      let new = piece._mutatingExtracting(0..<step.given)
      remember(new.bytes)
    }
    if step.isAtEnd {
      if frame.contentChecksumSize > 0, !skipsChecksum {
        findings?.right("frame content checksum")
      }
      if skipsChecksum { input.skip(UInt64(frame.contentChecksumSize)) }
      place = .betweenFrames
      window = []
    } else if step.given == 0, left == 0 {
      try nextBlock(frame)
    } else if step.given == 0, step.taken == 0 {
      throw input.malformed("an LZ4 block is damaged", at: begin)
    }
    return step.given
  }

  private func nextBlock(_ frame: LZ4Frame) throws(DiskError) {
    let what = "an LZ4 frame"
    guard !isEnding else { throw input.malformed("an LZ4 frame does not end where it says") }
    // All of what began last was taken: liblz4 has compared what it has.
    if let findings {
      if begin + UInt64(frame.headerSize) == input.place, position == frameStart {
        findings.right("frame header checksum")
      } else if frame.blockChecksumSize > 0 {
        findings.right("block checksum")
      }
    }
    begin = input.place
    guard let field = try? ByteReader(Array(input.peek(4))).u32(at: 0) else {
      throw input.truncated(what)
    }
    if field == 0 {
      left = 4 + (skipsChecksum ? 0 : frame.contentChecksumSize)
      isEnding = true
      return
    }
    if frame.hasEntryPoints {
      note(LZ4Codec.insideFrame | UInt64(frame.flags) | UInt64(frame.descriptor) << 8)
    }
    let count = Int(field & 0x7fff_ffff)
    guard count <= frame.largestBlock else {
      throw input.malformed("an LZ4 block of \(count) bytes, more than its frame allows")
    }
    left = 4 + count + frame.blockChecksumSize
  }

  private func remember(_ bytes: RawSpan) {
    let most = LZ4FrameStream.windowSize
    let count = bytes.byteCount
    let new = bytes.extracting(max(0, count - most)..<count)
    window.removeFirst(max(0, min(window.count, window.count + new.byteCount - most)))
    unsafe new.withUnsafeBytes { bytes in unsafe window.append(contentsOf: bytes) }
  }

  private func stepLegacy(_ piece: inout MutableRawSpan) throws(DiskError) -> Int {
    if given == decoded.count {
      note(LZ4Codec.insideLegacy)
      let begin = input.place
      guard let count = try? ByteReader(Array(input.peek(4))).u32(at: 0),
        count <= UInt32(LZ4Frame.longestLegacyBlock)
      else {
        // Another frame, or the end of the file.
        place = .betweenFrames
        return 0
      }
      input.skip(4)
      let block = try input.next(Int(count), of: "an LZ4 block").bytes
      do throws(DecodingFailure) {
        decoded = try LZ4Block.decode(block, atMost: LZ4Frame.legacyBlock)
      } catch {
        throw input.failure(error, in: "an LZ4 block", at: begin)
      }
      given = 0
      if !decoded.isEmpty { input.decodedSome() }
    }
    let count = min(piece.byteCount, decoded.count - given)
    var part = piece._mutatingExtracting(0..<count)
    _ = part.copy(from: decoded, startingAt: given)
    given += count
    position += UInt64(count)
    return count
  }
}
