internal import DiskCore

/// The decoded bytes of a compressed file, as a file: what is inside is probed and opened like any
/// other. Its parts are the files that are stored, which is what is locked and recorded.
final class DecodedStorage: VerifiableStream {
  let stream: SeekableStream
  /// The container's name.
  let streamName: String
  private let disk: Disk

  /// - Parameter blocks: the open image's.
  init(
    _ stream: SeekableStream, _ streamName: String, _ blocks: BlockCache
  ) throws(DiskError) {
    self.streamName = streamName
    self.stream = stream
    disk = try Disk(layers: [StreamLayer(stream)], blocks: blocks)
  }

  var path: String { stream.source.path }
  var parts: [any Storage] { stream.source.parts }
  var size: UInt64 { stream.size }
  var allocatedBytes: UInt64 { stream.source.allocatedBytes }
  var modificationTime: (seconds: Int, nanoseconds: Int) { stream.source.modificationTime }

  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard offset.bytes <= size, UInt64(buffer.byteCount) <= size - offset.bytes else {
      throw DiskError(
        .truncated, "the decoded bytes end before those that belong here", path: path,
        offset: offset.bytes)
    }
    try disk.read(at: DiskOffset(offset.bytes), into: &buffer)
  }

  func verify(
    _ findings: StreamFindings, _ workers: Workers, advance: @escaping @Sendable (UInt64) -> Void
  ) {
    stream.check(findings, workers, advance: advance)
  }

  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    StorageRegion(isHole: false, length: max(1, min(limit, size - min(size, offset.bytes))))
  }
}

/// A compressed stream as a layer: all of it is in encoded blocks.
private final class StreamLayer: ImageLayer {
  private let stream: SeekableStream

  init(_ stream: SeekableStream) { self.stream = stream }

  var size: UInt64 { stream.size }
  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { stream.source.parts }
  var description: LayerDescription { LayerDescription(format: "stream") }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = offset.bytes / SeekableStream.blockSize
    let within = offset.bytes % SeekableStream.blockSize
    return Extent(
      .encoded(stream, index: index, at: Int(within)),
      length: UInt64(stream.decodedBytes(of: index)) - within)
  }
}
