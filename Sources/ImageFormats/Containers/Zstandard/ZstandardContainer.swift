internal import Decoders
internal import DiskCore

/// Zstandard files, of one or more frames. Sources: RFC 8878; for the seek table the zstd project's
/// zstd_seekable_compression_format.md, 0.1.0.
struct ZstandardContainer: ContainerFormat {
  var name: String { "zstd" }

  func fits(_ head: ByteReader) -> Bool {
    guard let magic = try? head.u32(at: 0) else { return false }
    // pzstd puts a skippable frame first, which alone says nothing of zstd.
    return magic == ZstandardFrames.magic
      || ZstandardFrames.isSkippable(magic)
        && (try? head.u32(at: 4)).flatMap { try? head.u32(at: 8 + Int($0)) }
          == ZstandardFrames.magic
  }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    let codec = ZstandardCodec(source: source)
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

  /// The window of `zstd -19`, and buffers.
  var cursorMemory: Int { 9 << 20 }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    DecoderCursor(source, at: point, length: length, of: "a zstd frame", findings) {
      (input, position) throws(DiskError) -> DecoderCursor.Part? in
      // Behind the last frame whatever is there is not of the stream.
      let magic = ByteReader(Array(try input.peek(5)))
      guard let value = try? magic.u32(at: 0),
        value == ZstandardFrames.magic || ZstandardFrames.isSkippable(value)
      else { return nil }
      if points.wants(position), value == ZstandardFrames.magic {
        points.add(EntryPoint(decoded: position, stored: input.place))
      }
      guard let decoder = ZstandardStream() else {
        throw DiskError(.unavailable, "no memory for a zstd decoder", path: input.storage.path)
      }
      // RFC 8878, section 3.1.1.1.1.5: bit 2 of the frame header's descriptor.
      let hasChecksum = value == ZstandardFrames.magic && ((try? magic.u8(at: 4)) ?? 0) & 4 != 0
      return (decoder, hasChecksum ? "frame content XXH64" : nil)
    }
  }
}
