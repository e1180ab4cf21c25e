internal import Decoders
internal import DiskCore

/// A cursor for streams whose library does all but say where they begin: xz, Zstandard.
///
/// Safe to hand from thread to thread: one uses it at a time.
@safe final class DecoderCursor: StreamCursor, @unchecked Sendable {
  /// What is decoded by one decoder, and what its checksum is called where it has one.
  typealias Part = (decoder: any StreamDecoder, check: String?)
  /// Gives the decoder of what begins at the input's place, a new one or one that is at its end; nil behind
  /// the last one.
  typealias Next =
    (
      _ input: inout StoredInput, _ position: UInt64
    ) throws(DiskError) -> Part?

  private(set) var position: UInt64
  private var input: StoredInput
  private var part: Part?
  /// In decoded bytes.
  private var partStart: UInt64 = 0
  /// What its decoder had given before: it can be the same for all parts.
  private var givenBefore: UInt64 = 0
  private var isAtEnd = false
  /// How many bytes there are to give; nil for all that come.
  private var left: UInt64?
  /// What is decoded, for messages: `an xz block`.
  private let what: String
  private let findings: StreamFindings?
  private let next: Next

  var trailing: UInt64 { input.storage.size - min(input.place, input.storage.size) }

  /// - Parameters:
  ///   - point: with the place in bytes.
  ///   - length: how many bytes there must be; nil for all that come.
  init(
    _ source: any Storage, at point: EntryPoint, length: UInt64?, of what: String,
    _ findings: StreamFindings?, next: @escaping Next
  ) {
    position = point.decoded
    input = StoredInput(source, at: point.stored)
    left = length
    self.what = what
    self.findings = findings
    self.next = next
  }

  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
    let wanted = Int(min(UInt64(buffer.byteCount), left ?? .max))
    var done = 0
    while done < wanted, !isAtEnd {
      var piece = buffer._mutatingExtracting(done..<wanted)
      done += try step(into: &piece)
    }
    if isAtEnd, let left, left > 0 {
      throw input.malformed("\(what) ends before the index says")
    }
    if left == 0, !isAtEnd { try finish() }
    return done
  }

  /// Sees to what follows the last byte that is given: checksums.
  private func finish() throws(DiskError) {
    var none = [UInt8](repeating: 0, count: 1)
    var elements = none.mutableSpan
    var bytes = unsafe elements.mutableBytes
    while part != nil {
      var nothing = bytes._mutatingExtracting(0..<0)
      _ = try step(into: &nothing)
    }
    isAtEnd = true
  }

  private func step(into piece: inout MutableRawSpan) throws(DiskError) -> Int {
    if part == nil {
      part = try next(&input, position)
      partStart = position
      givenBefore = part?.decoder.given ?? 0
      isAtEnd = part == nil
    }
    guard let part else { return 0 }
    let most = findings == nil ? nil : part.decoder.nextInput
    let there = try input.fill()
    let place = input.place
    let step: StreamStep
    do throws(DecodingFailure) {
      step = try input.step(part.decoder, into: &piece, atMost: most ?? .max)
    } catch {
      if let given = passWrongChecksum(of: part, error, at: place) { return given }
      throw input.failure(error, in: what, at: place)
    }
    position += UInt64(step.given)
    left = left.map { $0 - UInt64(step.given) }
    if step.isAtEnd {
      self.part = nil
      if let check = part.check { findings?.right(check) }
    } else if step.given == 0, step.taken == 0, most != 0 {
      if there == 0 { throw input.truncated(what) }
      if piece.byteCount == 0 { throw input.malformed("\(what) goes on past what the index says") }
    }
    return step.given
  }
}

extension DecoderCursor {
  /// Where somebody checks the stream: tells of a checksum that is wrong, and goes on behind it; otherwise
  /// brings `position` to where the damage is.
  ///
  /// - Returns: how many bytes the step that failed gave; nil where it was no checksum.
  private func passWrongChecksum(
    of part: Part, _ failure: DecodingFailure, at place: UInt64
  ) -> Int? {
    guard let findings else { return nil }
    let end = partStart + part.decoder.given - givenBefore
    let given = Int(end - position)
    position = end
    left = left.map { $0 - min($0, UInt64(given)) }
    // Nothing but what belongs to the checksum follows the last byte.
    guard let check = part.check else { return nil }
    guard failure == .wrongChecksum || left == 0 else {
      findings.unread(check)
      return nil
    }
    findings.wrong(
      check, over: partStart..<end, input.failure(.wrongChecksum, in: what, at: place))
    input.skip(UInt64(part.decoder.nextInput ?? 0))
    self.part = nil
    return given
  }
}

extension StoredInput {
  func failure(_ failure: DecodingFailure, in what: String, at place: UInt64) -> DiskError {
    switch failure {
    case .tooLarge:
      DiskError(
        .unsupported, "\(what) needs more memory to be decoded than Platter gives it",
        path: storage.path, offset: place)
    case .unknownMethod:
      DiskError(
        .unsupported, "\(what) uses a method that the library here does not know",
        path: storage.path, offset: place)
    case .wrongChecksum: malformed("the checksum of \(what) is wrong", at: place)
    case .damaged, .tooLong: malformed("\(what) is damaged", at: place)
    }
  }
}
