internal import DiskCore

/// The decoded bytes of a compressed file, as a file: what is inside is probed and opened like any
/// other. Its parts are the files that are stored, which is what is locked and recorded.
final class DecodedStorage: VerifiableStream {
  let stream: SeekableStream
  /// The container's name.
  let streamName: String
  private let disk: Disk
  private let blocks: BlockCache

  /// - Parameter blocks: the open image's.
  init(
    _ stream: SeekableStream, _ streamName: String, _ blocks: BlockCache
  ) throws(DiskError) {
    self.streamName = streamName
    self.stream = stream
    self.blocks = blocks
    disk = try Disk(layers: [StreamLayer(stream)], blocks: blocks)
  }

  /// The same stream with another size.
  func resized(to size: UInt64) throws(DiskError) -> DecodedStorage {
    try DecodedStorage(stream.resized(to: size), streamName, blocks)
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
    do throws(DiskError) {
      try disk.read(at: DiskOffset(offset.bytes), into: &buffer)
    } catch {
      // What was decoded before can be decoded again.
      guard let spilled = stream.spilled, error.path == spilled.path, spilled.isLost else {
        throw error
      }
      try disk.read(at: DiskOffset(offset.bytes), into: &buffer)
    }
  }

  func verify(
    _ findings: StreamFindings, _ workers: Workers, advance: @escaping @Sendable (UInt64) -> Void
  ) {
    stream.check(findings, workers, advance: advance)
  }

  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    StorageRegion(
      isHole: false, isCompressed: true,
      length: max(1, min(limit, size - min(size, offset.bytes))))
  }

  func way(to offset: FileOffset, count: UInt64) -> UInt64 {
    var place = offset.bytes / SeekableStream.blockSize * SeekableStream.blockSize
    let end = min(size, offset.bytes + min(count, size))
    while place < end {
      // From the first block that is not there all the others are near.
      if !blocks.holds(place / SeekableStream.blockSize, of: stream) {
        return stream.way(to: place)
      }
      place += SeekableStream.blockSize
    }
    return 0
  }

  /// The longest such way, of any byte.
  var longestWay: UInt64 {
    let source = (stream.source as? InterruptibleStorage)?.storage ?? stream.source
    let inner = (source as? DecodedStorage)?.longestWay ?? 0
    return max(inner, stream.points.longestWay(in: size))
  }
}

/// A compressed stream as a layer: all of it is in encoded blocks, but for those that were decoded into a
/// file.
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
    let length = UInt64(stream.decodedBytes(of: index)) - within
    if let spilled = stream.spilled, spilled.has(index) {
      return Extent(.stored(spilled, at: FileOffset(offset.bytes)), length: length)
    }
    return Extent(.encoded(stream, index: index, at: Int(within)), length: length)
  }
}
