internal import CLZMA

/// One block of an xz file, or from an xz file's start on all of its streams, by liblzma.
///
/// Source: the .xz file format 1.2.1; liblzma's headers.
@safe public final class XZStream: StreamDecoder {
  /// Dictionaries that need more memory are refused, in bytes: four times what `xz -9` needs.
  public static let mostMemory: UInt64 = 272 << 20

  private let stream: UnsafeMutablePointer<lzma_stream>
  /// What liblzma reads and writes while it decodes a block.
  private let block: UnsafeMutablePointer<lzma_block>
  private let filters: UnsafeMutablePointer<lzma_filter>
  private static let filterCount = Int(LZMA_FILTERS_MAX) + 1

  private init() {
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: lzma_stream())
    unsafe block = .allocate(capacity: 1)
    unsafe block.initialize(to: lzma_block())
    unsafe filters = .allocate(capacity: Self.filterCount)
    for index in 0..<Self.filterCount {
      unsafe (filters + index).initialize(
        to: lzma_filter(id: lzma_vli.max, options: nil))
    }
  }

  deinit {
    unsafe lzma_end(stream)
    unsafe lzma_filters_free(filters, nil)
    unsafe stream.deallocate()
    unsafe block.deallocate()
    unsafe filters.deallocate()
  }

  /// For a whole file, whatever its index says.
  ///
  /// - Throws: `damaged` where there is no memory.
  public static func ofFile() throws(DecodingFailure) -> XZStream {
    let decoder = XZStream()
    // The bit is LZMA_CONCATENATED: streams behind the first one belong to the file.
    let result = unsafe lzma_stream_decoder(decoder.stream, mostMemory, 0x08)
    guard result == LZMA_OK else { throw .damaged }
    return decoder
  }

  /// For one block, from behind its header on.
  ///
  /// - Parameters:
  ///   - header: the block's header, whole.
  ///   - check: the check's number, from the stream's flags.
  ///   - unpaddedSize: from the index: the header, the compressed data and the check, in bytes.
  ///   - size: from the index: how many bytes the block decodes to.
  /// - Throws: `damaged`; `tooLarge` for a dictionary that needs more than `mostMemory`;
  ///   `unknownMethod` for a filter or a check that this liblzma does not know.
  public static func ofBlock(
    header: [UInt8], check: UInt8, unpaddedSize: UInt64, size: UInt64
  ) throws(DecodingFailure) -> XZStream {
    let decoder = XZStream()
    let block = unsafe decoder.block
    guard let first = header.first, first != 0, header.count == (Int(first) + 1) * 4 else {
      throw .damaged
    }
    guard lzma_check_is_supported(lzma_check(UInt32(check))) != 0 else { throw .unknownMethod }
    unsafe block.pointee.version = 1
    unsafe block.pointee.header_size = UInt32(header.count)
    unsafe block.pointee.check = lzma_check(UInt32(check))
    unsafe block.pointee.filters = decoder.filters
    switch unsafe lzma_block_header_decode(block, nil, header) {
    case LZMA_OK: break
    case LZMA_OPTIONS_ERROR: throw .unknownMethod
    default: throw .damaged
    }
    guard unsafe lzma_block_compressed_size(block, unpaddedSize) == LZMA_OK else { throw .damaged }
    let claimed = unsafe block.pointee.uncompressed_size
    guard claimed == lzma_vli.max || claimed == size else { throw .damaged }
    unsafe block.pointee.uncompressed_size = size
    // All ones for filters that liblzma cannot use together.
    let memory = unsafe lzma_raw_decoder_memusage(decoder.filters)
    guard memory != .max else { throw .unknownMethod }
    guard memory <= mostMemory else { throw .tooLarge }
    guard unsafe lzma_block_decoder(decoder.stream, block) == LZMA_OK else { throw .damaged }
    return decoder
  }

  /// What decoding takes, in bytes, as far as it is known by now.
  public static func memory(ofBlockHeader header: [UInt8]) -> UInt64 {
    let decoder = XZStream()
    let block = unsafe decoder.block
    guard let first = header.first, first != 0, header.count == (Int(first) + 1) * 4 else {
      return 0
    }
    unsafe block.pointee.version = 1
    unsafe block.pointee.header_size = UInt32(header.count)
    unsafe block.pointee.filters = decoder.filters
    guard unsafe lzma_block_header_decode(block, nil, header) == LZMA_OK else { return 0 }
    let memory = unsafe lzma_raw_decoder_memusage(decoder.filters)
    return memory == .max ? 0 : memory
  }

  public var given: UInt64 { unsafe stream.pointee.total_out }

  /// With no input and nothing given, the file must have ended.
  public func step(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> StreamStep {
    var step = StreamStep(taken: 0, given: 0, isAtEnd: false)
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe stream.pointee.next_in = input.bindMemory(to: UInt8.self).baseAddress
        unsafe stream.pointee.avail_in = input.count
        unsafe stream.pointee.next_out = output.bindMemory(to: UInt8.self).baseAddress
        unsafe stream.pointee.avail_out = output.count
        let result = unsafe lzma_code(stream, input.isEmpty ? LZMA_FINISH : LZMA_RUN)
        step.taken = input.count - (unsafe stream.pointee.avail_in)
        step.given = output.count - (unsafe stream.pointee.avail_out)
        return result
      }
    }
    switch result {
    case LZMA_OK, LZMA_BUF_ERROR: return step
    case LZMA_STREAM_END:
      step.isAtEnd = true
      return step
    case LZMA_MEMLIMIT_ERROR: throw .tooLarge
    case LZMA_OPTIONS_ERROR: throw .unknownMethod
    default: throw .damaged
    }
  }
}
