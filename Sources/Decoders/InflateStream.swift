internal import CZlib

/// A bare deflate stream (RFC 1951) by zlib, which can be taken up again between two of its blocks.
///
/// libdeflate is faster but has no streams. zlib's manual, at `inflate` with Z_BLOCK, `inflatePrime`
/// and `inflateGetDictionary`, says what is needed to go on from a block's end.
@safe public final class InflateStream: StreamDecoder {
  /// How far back a match can reach, in bytes.
  public static let windowSize = 32768
  /// What zlib takes for one stream, in bytes (zlib.h, at the memory requirements).
  public static let memory = 48 << 10

  private let stream: UnsafeMutablePointer<z_stream>

  /// From the start of a stream; nil where there is no memory.
  public init?() {
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    // Negative: no header and no trailer.
    let result = unsafe inflateInit2_(
      stream, -15, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size))
    if result != Z_OK { return nil }
  }

  /// From a block's start on.
  ///
  /// - Parameters:
  ///   - bits: how many bits of the byte before the input are still to be read, 0 to 7.
  ///   - value: these bits.
  ///   - window: the last 32 KiB that the stream gave before that place.
  public convenience init?(bits: Int, value: UInt8, window: [UInt8]) {
    self.init()
    if bits > 0, unsafe inflatePrime(stream, CInt(bits), CInt(value)) != Z_OK { return nil }
    if !window.isEmpty,
      unsafe inflateSetDictionary(stream, window, UInt32(window.count)) != Z_OK
    {
      return nil
    }
  }

  deinit {
    _ = unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  public func step(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> StreamStep {
    var step = StreamStep(taken: 0, given: 0, isAtEnd: false)
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        // zlib counts in 32 bits.
        let room = min(input.count, 1 << 30)
        let space = min(output.count, 1 << 30)
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
          mutating: input.bindMemory(to: UInt8.self).baseAddress)
        unsafe stream.pointee.avail_in = UInt32(room)
        unsafe stream.pointee.next_out = output.bindMemory(to: UInt8.self).baseAddress
        unsafe stream.pointee.avail_out = UInt32(space)
        let result = unsafe inflate(stream, Z_BLOCK)
        step.taken = room - Int(unsafe stream.pointee.avail_in)
        step.given = space - Int(unsafe stream.pointee.avail_out)
        return result
      }
    }
    switch result {
    case Z_OK, Z_BUF_ERROR: return step
    case Z_STREAM_END:
      step.isAtEnd = true
      return step
    default: throw .damaged
    }
  }

  public var given: UInt64 { UInt64(unsafe stream.pointee.total_out) }

  /// How many bits of the last byte taken belong to the block that comes next; nil where the last
  /// step did not end between two blocks.
  public var bitsBeforeBlock: Int? {
    let type = unsafe stream.pointee.data_type
    // 128: behind a block or a header; 64: in the last block.
    guard type & 128 != 0, type & 64 == 0 else { return nil }
    return Int(type & 7)
  }

  /// The last 32 KiB that were given, or all where there are fewer.
  public var window: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.windowSize)
    var count: UInt32 = 0
    guard unsafe inflateGetDictionary(stream, &bytes, &count) == Z_OK else { return [] }
    return Array(bytes.prefix(Int(count)))
  }
}
