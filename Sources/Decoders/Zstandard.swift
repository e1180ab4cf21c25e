internal import CZstd

/// Blocks that are Zstandard frames (RFC 8878), by libzstd.
///
/// Safe to call from any thread at once.
public final class Zstandard: Sendable {
  private let pool = unsafe ContextPool(
    make: { unsafe ZSTD_createDCtx() }, free: { _ = unsafe ZSTD_freeDCtx($0) })

  public init() {}

  /// Decompresses the frame that `input` starts with into `output`; bytes behind it are not looked
  /// at.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  public func decode(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    let outcome = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe pool.withContext { unsafe Self.decode(input, output, $0) }
      }
    }
    switch outcome {
    case .complete(let count): return count
    case .full: throw .tooLong
    case .damaged, nil: throw .damaged
    }
  }

  private enum Outcome {
    case complete(Int)
    case full
    case damaged
  }

  /// As a stream: the one-call interface wants to know exactly where the frame ends, and blocks are
  /// padded.
  private static func decode(
    _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer,
    _ context: OpaquePointer
  ) -> Outcome {
    _ = unsafe ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
    var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
    while true {
      let before = unsafe (source.pos, target.pos)
      let left = unsafe ZSTD_decompressStream(context, &target, &source)
      if left == 0 { return .complete(unsafe target.pos) }
      if ZSTD_isError(left) != 0 { return .damaged }
      if unsafe (source.pos, target.pos) == before {
        return unsafe target.pos == target.size ? .full : .damaged
      }
    }
  }
}
