internal import Decoders
internal import DiskCore

/// Zstandard files, of one or more frames. Sources: RFC 8878; for the seek table the zstd project's
/// zstd_seekable_compression_format.md, 0.1.0.
struct ZstandardContainer: ContainerFormat {
  var name: String { "zstd" }

  /// That of `zstd -19`, for a file that does not begin with a frame.
  private static let usualWindow: UInt64 = 8 << 20

  func fits(_ head: ByteReader) -> Bool {
    guard let magic = try? head.u32(at: 0) else { return false }
    // pzstd puts a skippable frame first, which alone says nothing of zstd.
    return magic == ZstandardFrames.magic
      || ZstandardFrames.isSkippable(magic)
        && (try? head.u32(at: 4)).flatMap { try? head.u32(at: 8 + Int($0)) }
          == ZstandardFrames.magic
  }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    let window = try ZstandardFrames.window(of: source)
    let codec = ZstandardCodec(
      source: source,
      cursorMemory: StoredInput.piece + ZstandardStream.memory(window: window ?? Self.usualWindow))
    if let table = try ZstandardSeekTable(of: source) {
      return ContainedStream(
        codec, EntryPoints(table.points, end: table.size, isComplete: true),
        size: .exact(table.size),
        details: [("frames", "\(table.frames)"), ("seek table", "yes")])
    }
    let frames = try ZstandardFrames(of: source)
    let details = [
      ("frames", frames.isWhole ? "\(frames.count)" : "at least \(frames.count)"),
      ("seek table", "no"),
    ]
    guard frames.isWhole, let size = frames.size else {
      return ContainedStream(
        codec, EntryPoints(),
        size: frames.count == 1 ? frames.size.map { .likely($0) } ?? .unknown : .unknown,
        details: details)
    }
    return ContainedStream(
      codec, EntryPoints(frames.points, end: size, isComplete: true), size: .exact(size),
      details: details)
  }
}

/// Entry points are where frames begin.
struct ZstandardCodec: StreamCodec {
  let source: any Storage

  let cursorMemory: Int

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    // One for all frames: making it costs more than a small frame does.
    guard let decoder = ZstandardStream() else {
      throw DiskError(.unavailable, "no memory for a zstd decoder", path: source.path)
    }
    var hasBegun = point.stored == 0
    return DecoderCursor(source, at: point, length: length, of: "a zstd frame", findings) {
      (input, position) throws(DiskError) -> DecoderCursor.Part? in
      while true {
        let head = ByteReader(Array(try input.peek(8)))
        let magic = try? head.u32(at: 0)
        if let magic, ZstandardFrames.isSkippable(magic) {
          guard let size = try? head.u32(at: 4),
            8 + UInt64(size) <= input.storage.size - input.place
          else { throw input.truncated("a skippable frame") }
          input.skip(8 + UInt64(size))
          continue
        }
        guard magic == ZstandardFrames.magic else {
          // Behind the last frame whatever is there is not of the stream; where one was found before there
          // is one.
          guard hasBegun else {
            throw input.malformed("no zstd frame begins here")
          }
          return nil
        }
        hasBegun = true
        if points.wants(position) {
          points.add(EntryPoint(decoded: position, stored: input.place))
        }
        // RFC 8878, section 3.1.1.1.1.5: bit 2 of the frame header's descriptor.
        let hasChecksum = ((try? head.u8(at: 4)) ?? 0) & 4 != 0
        return (decoder, hasChecksum ? "frame content XXH64" : nil)
      }
    }
  }
}
