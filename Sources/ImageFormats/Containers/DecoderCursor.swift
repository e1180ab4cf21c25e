internal import Decoders
internal import DiskCore

/// A cursor for streams whose library does all but say where they begin: xz, Zstandard.
///
/// Safe to hand from thread to thread: one uses it at a time.
@safe final class DecoderCursor: StreamCursor, @unchecked Sendable {
  /// Gives the decoder of what begins at the input's place, a new one or one that is at its end; nil behind
  /// the last one.
  typealias Next =
    (
      _ input: inout StoredInput, _ position: UInt64
    ) throws(DiskError) -> (any StreamDecoder)?

  private(set) var position: UInt64
  private var input: StoredInput
  private var decoder: (any StreamDecoder)?
  private var isAtEnd = false
  /// How many bytes there are to give; nil for all that come.
  private var left: UInt64?
  /// What is decoded, for messages: `an xz block`.
  private let what: String
  private let next: Next

  var trailing: UInt64 { input.storage.size - min(input.place, input.storage.size) }

  /// - Parameters:
  ///   - point: with the place in bytes.
  ///   - length: how many bytes there must be; nil for all that come.
  init(
    _ source: any Storage, at point: EntryPoint, length: UInt64?, of what: String,
    next: @escaping Next
  ) {
    position = point.decoded
    input = StoredInput(source, at: point.stored)
    left = length
    self.what = what
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
    while decoder != nil {
      var nothing = bytes._mutatingExtracting(0..<0)
      _ = try step(into: &nothing)
    }
    isAtEnd = true
  }

  private func step(into piece: inout MutableRawSpan) throws(DiskError) -> Int {
    if decoder == nil {
      decoder = try next(&input, position)
      isAtEnd = decoder == nil
    }
    guard let decoder else { return 0 }
    let there = try input.fill()
    let place = input.place
    let step: StreamStep
    do throws(DecodingFailure) {
      step = try input.step(decoder, into: &piece)
    } catch {
      throw input.failure(error, in: what, at: place)
    }
    position += UInt64(step.given)
    left = left.map { $0 - UInt64(step.given) }
    if step.isAtEnd {
      self.decoder = nil
    } else if step.given == 0, step.taken == 0 {
      if there == 0 { throw input.truncated(what) }
      if piece.byteCount == 0 { throw input.malformed("\(what) goes on past what the index says") }
    }
    return step.given
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
    case .damaged, .tooLong: malformed("\(what) is damaged", at: place)
    }
  }
}
