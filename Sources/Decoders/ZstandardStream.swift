internal import CZstd

/// A Zstandard frame (RFC 8878), or a skippable one, by libzstd.
@safe public final class ZstandardStream: StreamDecoder {
  /// Frames whose window is larger are refused, as `zstd -d` refuses them without `--long`: the
  /// logarithm of 128 MiB.
  public static let largestWindowLog: UInt32 = 27

  /// What one takes, in bytes, for a window of `window`: the window, two blocks of 128 KiB beside it (RFC
  /// 8878, section 3.1.1.2.3), one that is being collected, and tables.
  public static func memory(window: UInt64) -> Int {
    Int(min(window, 1 << UInt64(largestWindowLog))) + (768 << 10)
  }

  private let context: OpaquePointer
  public private(set) var given: UInt64 = 0
  /// What libzstd said it would best be given next; at a frame's start its first five bytes.
  private var hint = frameStart
  private static let frameStart = 5
  /// Whether there may be more to give without any input.
  private var isFull = false

  /// At a frame's start; nil where there is no memory.
  public init?() {
    guard let context = unsafe ZSTD_createDCtx() else { return nil }
    unsafe self.context = context
    let result = unsafe ZSTD_DCtx_setParameter(
      context, ZSTD_d_windowLogMax, CInt(Self.largestWindowLog))
    if ZSTD_isError(result) != 0 { return nil }
  }

  deinit { _ = unsafe ZSTD_freeDCtx(context) }

  /// libzstd gives what it decoded only from a call that does not fail, and asks for a frame's checksum by
  /// itself (zstd.h, at ZSTD_decompressStream).
  public var nextInput: Int? { isFull ? 0 : hint }

  /// At the end of a frame it can go on with the next one.
  public func step(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> StreamStep {
    var step = StreamStep(taken: 0, given: 0, isAtEnd: false)
    let left = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let left = unsafe ZSTD_decompressStream(context, &target, &source)
        step.taken = unsafe source.pos
        step.given = unsafe target.pos
        return left
      }
    }
    guard ZSTD_isError(left) == 0 else {
      // Whoever goes on behind it begins with a frame. What it wanted next stays: where a checksum was wrong,
      // that is its length.
      _ = unsafe ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
      switch ZSTD_getErrorCode(left) {
      case ZSTD_error_frameParameter_windowTooLarge: throw .tooLarge
      case ZSTD_error_checksum_wrong: throw .wrongChecksum
      default: throw .damaged
      }
    }
    step.isAtEnd = left == 0
    given += UInt64(step.given)
    hint = step.isAtEnd ? Self.frameStart : left
    isFull = step.given > 0 && step.given == output.byteCount
    return step
  }
}
