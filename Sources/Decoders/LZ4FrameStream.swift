internal import CLZ4

/// An LZ4 frame by liblz4.
///
/// Source: lz4_Frame_format.md 1.6.3.
@safe public final class LZ4FrameStream: StreamDecoder {
  /// How far back a block can refer to the ones before it, in bytes.
  public static let windowSize = 65536

  /// What one takes, in bytes: a block that is being collected, a decoded one, and what blocks refer to
  /// (lz4frame.c allocates both with the first block).
  public static func memory(largestBlock: Int) -> Int { 2 * largestBlock + 2 * windowSize }

  private let context: OpaquePointer
  public private(set) var given: UInt64 = 0

  /// At a frame's start; nil where there is no memory.
  public init?() {
    var context: OpaquePointer?
    guard LZ4F_isError(unsafe LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))) == 0,
      let context = unsafe context
    else { return nil }
    unsafe self.context = context
  }

  deinit { _ = unsafe LZ4F_freeDecompressionContext(context) }

  public func step(
    _ input: RawSpan, into output: inout MutableRawSpan
  ) throws(DecodingFailure) -> StreamStep {
    var step = StreamStep(taken: 0, given: 0, isAtEnd: false)
    let result = unsafe input.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        var taken = input.count
        var given = output.count
        let result = unsafe LZ4F_decompress(
          context, output.baseAddress, &given, input.baseAddress, &taken, nil)
        step.taken = taken
        step.given = given
        return result
      }
    }
    guard LZ4F_isError(result) == 0 else { throw .damaged }
    given += UInt64(step.given)
    step.isAtEnd = result == 0
    return step
  }
}

/// LZ4 blocks without a frame. Source: lz4_Block_format.md.
public enum LZ4Block {
  /// Decodes `input`, which must be the whole block.
  ///
  /// - Parameter most: how many bytes it may give.
  public static func decode(_ input: [UInt8], atMost most: Int) throws(DecodingFailure) -> [UInt8] {
    var given: CInt = -1
    let result = unsafe [UInt8](unsafeUninitializedCapacity: most) { output, count in
      unsafe input.withUnsafeBytes { input in
        given = unsafe LZ4_decompress_safe(
          input.bindMemory(to: CChar.self).baseAddress,
          UnsafeMutableRawPointer(output.baseAddress)?.assumingMemoryBound(to: CChar.self),
          CInt(clamping: input.count), CInt(clamping: most))
      }
      count = Int(max(0, given))
    }
    guard given >= 0 else { throw .damaged }
    return result
  }

  /// How many bytes a block decodes to, without decoding it; nil where it is damaged.
  public static func decodedSize(of block: [UInt8]) -> Int? {
    var place = 0
    var size = 0
    /// A length whose first four bits are all ones goes on in bytes, up to one that is not 255.
    func length(_ first: UInt8) -> Int? {
      var length = Int(first)
      guard first == 15 else { return length }
      while place < block.count {
        let more = block[place]
        place += 1
        length += Int(more)
        if more != 255 { return length }
      }
      return nil
    }
    while place < block.count {
      let token = block[place]
      place += 1
      guard let literals = length(token >> 4), literals <= block.count - place else { return nil }
      place += literals
      size += literals
      // The last sequence ends behind its literals.
      if place == block.count { return size }
      place += 2
      guard place <= block.count, let match = length(token & 15) else { return nil }
      size += match + 4
    }
    return nil
  }
}
