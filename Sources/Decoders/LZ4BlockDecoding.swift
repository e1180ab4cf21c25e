internal import CLZ4

/// Into memory that is there already. A block has neither a header nor an end of its own: its length is
/// what the caller knows.
extension LZ4Block {
  /// Decodes the block that is all of `input`.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  /// - Throws: `damaged`, also where the block holds more than `output` has room for: the library does
  ///   not tell these apart.
  public static func decode(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    try unsafe decode(input, into: &output) { input, output in
      unsafe LZ4_decompress_safe(
        input.baseAddress, output.baseAddress, Int32(input.count), Int32(output.count))
    }
  }

  /// Decodes as much as `output` has room for of the block that `input` starts with; what is behind it
  /// is looked at only where the block gives less than that.
  ///
  /// - Returns: how many bytes it gave; what is left of `output` is undefined.
  public static func decode(
    startOf input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> Int {
    try unsafe decode(input, into: &output) { input, output in
      unsafe LZ4_decompress_safe_partial(
        input.baseAddress, output.baseAddress, Int32(input.count), Int32(output.count),
        Int32(output.count))
    }
  }

  private static func decode(
    _ input: RawSpan, into output: inout MutableRawSpan,
    by call: (UnsafeBufferPointer<CChar>, UnsafeMutableBufferPointer<CChar>) -> Int32
  ) throws(DecodingFailure) -> Int {
    // The library counts in 32 bits.
    guard input.byteCount <= Int(Int32.max), output.byteCount <= Int(Int32.max) else {
      throw .damaged
    }
    let given = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe call(
          input.assumingMemoryBound(to: CChar.self), output.assumingMemoryBound(to: CChar.self))
      }
    }
    guard given >= 0 else { throw .damaged }
    return Int(given)
  }
}
