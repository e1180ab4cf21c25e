internal import CBzip2

/// A bzip2 stream by libbz2.
@safe public final class Bzip2Stream: StreamDecoder {
  /// What one takes for blocks of 900 kB, in bytes (libbz2's manual, section 2.5).
  public static let memory = 3700 << 10

  private let stream: UnsafeMutablePointer<bz_stream>

  /// Nil where there is no memory.
  public init?() {
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: bz_stream())
    if unsafe BZ2_bzDecompressInit(stream, 0, 0) != BZ_OK { return nil }
  }

  deinit {
    _ = unsafe BZ2_bzDecompressEnd(stream)
    unsafe stream.deallocate()
  }

  public var given: UInt64 {
    unsafe UInt64(stream.pointee.total_out_hi32) << 32 | UInt64(stream.pointee.total_out_lo32)
  }

  public func step(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> StreamStep {
    var step = StreamStep(taken: 0, given: 0, isAtEnd: false)
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        // libbz2 counts in 32 bits.
        let room = min(input.count, 1 << 30)
        let space = min(output.count, 1 << 30)
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
          mutating: input.bindMemory(to: CChar.self).baseAddress)
        unsafe stream.pointee.avail_in = UInt32(room)
        unsafe stream.pointee.next_out = output.bindMemory(to: CChar.self).baseAddress
        unsafe stream.pointee.avail_out = UInt32(space)
        let result = unsafe BZ2_bzDecompress(stream)
        step.taken = room - Int(unsafe stream.pointee.avail_in)
        step.given = space - Int(unsafe stream.pointee.avail_out)
        return result
      }
    }
    switch result {
    case BZ_OK: return step
    case BZ_STREAM_END:
      step.isAtEnd = true
      return step
    default: throw .damaged
    }
  }
}
