internal import CDeflate

/// Deflated blocks (RFC 1951), bare or as a zlib stream (RFC 1950), by libdeflate.
///
/// Safe to call from any thread at once.
public final class Deflate: Sendable {
  public enum Wrapping: Sendable {
    /// Nothing around it.
    case none
    /// Two bytes before it and an Adler-32 checksum behind, which is checked.
    case zlib
  }

  private let wrapping: Wrapping
  private let pool = unsafe ContextPool(
    make: { unsafe libdeflate_alloc_decompressor() },
    free: { unsafe libdeflate_free_decompressor($0) })

  public init(_ wrapping: Wrapping) { self.wrapping = wrapping }

  /// As the other, for bytes that were read into an array.
  public func decode(
    _ input: [UInt8], into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    try unsafe decode(input.span.bytes, into: &output)
  }

  /// Inflates the stream that `input` starts with into `output`; bytes behind it are not looked at.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  public func decode(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    var given = 0
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe pool.withContext { context in
          var used = 0
          return switch wrapping {
          case .none:
            unsafe libdeflate_deflate_decompress_ex(
              context, input.baseAddress, input.count, output.baseAddress, output.count, &used,
              &given)
          case .zlib:
            unsafe libdeflate_zlib_decompress_ex(
              context, input.baseAddress, input.count, output.baseAddress, output.count, &used,
              &given)
          }
        }
      }
    }
    switch result {
    case LIBDEFLATE_SUCCESS: return given
    case LIBDEFLATE_INSUFFICIENT_SPACE: throw .tooLong
    default: throw .damaged
    }
  }
}
