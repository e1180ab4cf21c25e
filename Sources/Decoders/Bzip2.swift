internal import CBzip2

/// bzip2 streams (libbz2's manual), by libbz2: a block in, a block out.
public enum Bzip2 {
  /// Decompresses the stream that `input` starts with into `output`; bytes behind it are not looked at.
  /// Takes up to 3.7 MB besides, while it runs.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  public static func decode(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    guard let room = UInt32(exactly: output.byteCount),
      let available = UInt32(exactly: input.byteCount)
    else { throw .damaged }
    var given = room
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        // It takes its input as mutable and does not change it.
        let source = unsafe UnsafeMutablePointer(
          mutating: input.assumingMemoryBound(to: CChar.self).baseAddress)
        return unsafe BZ2_bzBuffToBuffDecompress(
          output.assumingMemoryBound(to: CChar.self).baseAddress, &given, source, available, 0, 0)
      }
    }
    switch result {
    case BZ_OK: return Int(given)
    case BZ_OUTBUFF_FULL: throw .tooLong
    default: throw .damaged
    }
  }
}
