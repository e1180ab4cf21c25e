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
    ContainedStream(
      LZ4Codec(source: source), EntryPoints(), size: try LZ4Walk.size(of: source))
  }
}

/// Entry points are where frames and blocks begin. The detail is 0 at a frame's start; inside one it is
/// `insideFrame` and the frame's flags and descriptor, or `insideLegacy`.
struct LZ4Codec: StreamCodec {
  static let insideFrame: UInt64 = 1 << 16
  static let insideLegacy: UInt64 = 2 << 16

  let source: any Storage

  /// liblz4's buffers for blocks of 4 MiB.
  var cursorMemory: Int { 9 << 20 }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints
  ) throws(DiskError) -> any StreamCursor {
    try LZ4Cursor(source, at: point, points)
  }
}
