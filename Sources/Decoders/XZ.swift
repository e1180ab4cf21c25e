internal import CLZMA

/// xz streams (the .xz file format, 1.2), by liblzma: a block in, a block out.
public enum XZ {
  /// What the decoder may take besides, in bytes: enough for a dictionary of 64 MiB, which is the
  /// largest of xz's presets, and no more for a stream that asks for 4 GiB.
  static let largestMemory: UInt64 = 80 << 20

  /// Decompresses the stream that `input` starts with into `output`, its own checksums verified; bytes
  /// behind it are not looked at.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  public static func decode(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    var (used, given) = (0, 0)
    var memory = largestMemory
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe lzma_stream_buffer_decode(
          &memory, 0, nil, input.assumingMemoryBound(to: UInt8.self).baseAddress, &used,
          input.count, output.assumingMemoryBound(to: UInt8.self).baseAddress, &given, output.count)
      }
    }
    switch result {
    case LZMA_OK: return given
    case LZMA_BUF_ERROR: throw .tooLong
    default: throw .damaged
    }
  }
}
