/// A decoder that is given a stream piece by piece, and can be kept and gone on with.
///
/// Used by one thread at a time.
public protocol StreamDecoder: AnyObject {
  /// Takes some of `input` and gives some of `output`; neither need be all. Call it again until the
  /// step says that the stream has ended.
  ///
  /// - Throws: where the bytes are none of the format. What was given before stays good.
  func step(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> StreamStep

  /// How many bytes were given in all, those of a step that failed among them.
  var given: UInt64 { get }

  /// How many bytes to give it next, so that what comes before a checksum is given before the checksum is
  /// compared; nil where that makes no difference.
  var nextInput: Int? { get }
}

extension StreamDecoder {
  public var nextInput: Int? { nil }
}

/// What one call of a decoder did.
public struct StreamStep: Sendable {
  /// How many bytes of the input are used up.
  public var taken: Int
  /// How many bytes of the output are filled.
  public var given: Int
  /// Whether the stream is complete: checksums inside it were right, and what follows in the input is
  /// not of it.
  public var isAtEnd: Bool

  public init(taken: Int, given: Int, isAtEnd: Bool) {
    self.taken = taken
    self.given = given
    self.isAtEnd = isAtEnd
  }
}
