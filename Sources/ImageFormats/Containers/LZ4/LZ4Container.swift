internal import Decoders
internal import DiskCore

/// LZ4 files: frames, and the legacy frames of `lz4 -l` and of kernels. Source: lz4_Frame_format.md 1.6.3.
struct LZ4Container: ContainerFormat {
  var name: String { "lz4" }

  func fits(_ head: ByteReader) -> Bool {
    switch try? head.u32(at: 0) {
    case LZ4Frame.legacyMagic: true
    case LZ4Frame.magic:
      (try? head.u8(at: 4)).flatMap { flags in
        (try? head.u8(at: 5)).flatMap { LZ4Frame(flags: flags, descriptor: $0) }
      } != nil
    default: false
    }
  }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    let head = try StoredInput.head(of: source, LZ4Frame.longestHeader)
    return ContainedStream(
      LZ4Codec(source: source, cursorMemory: Self.memory(head)), EntryPoints(),
      size: try LZ4Walk.size(of: source))
  }

  /// Of the first frame: its blocks are of one size, and other frames of a file are made alike.
  private static func memory(_ head: ByteReader) -> Int {
    guard (try? head.u32(at: 0)) == LZ4Frame.magic, let flags = try? head.u8(at: 4),
      let descriptor = try? head.u8(at: 5),
      let frame = LZ4Frame(flags: flags, descriptor: descriptor)
    else { return StoredInput.piece + LZ4Frame.legacyMemory }
    return StoredInput.piece + LZ4FrameStream.memory(largestBlock: frame.largestBlock)
  }
}

/// Entry points are where frames and blocks begin. The detail is 0 at a frame's start; inside one it is
/// `insideFrame` and the frame's flags and descriptor, or `insideLegacy`.
struct LZ4Codec: StreamCodec {
  static let insideFrame: UInt64 = 1 << 16
  static let insideLegacy: UInt64 = 2 << 16

  let source: any Storage

  let cursorMemory: Int

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    try LZ4Cursor(source, at: point, points, findings)
  }
}
