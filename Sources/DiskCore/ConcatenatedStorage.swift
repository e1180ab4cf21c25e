/// Files in a row that together hold one image, as splitters and imagers write them.
public final class ConcatenatedStorage: Storage {
  /// One part and where it starts in the whole.
  private struct Part: Sendable {
    let storage: any Storage
    let start: UInt64
    var end: UInt64 { start + storage.size }
  }

  public let size: UInt64
  private let placed: [Part]

  /// - Parameter storages: in order, at least one.
  /// - Throws: `invalidRequest` for none, `unsupported` where they are larger than
  ///   `Limits.largestDisk` together.
  public init(_ storages: [any Storage]) throws(DiskError) {
    guard !storages.isEmpty else { throw DiskError(.invalidRequest, "an image of no files") }
    var end: UInt64 = 0
    var parts: [Part] = []
    for storage in storages {
      parts.append(Part(storage: storage, start: end))
      let (sum, overflow) = end.addingReportingOverflow(storage.size)
      guard !overflow, sum <= Limits.largestDisk else {
        throw DiskError(
          .unsupported, "the parts are larger than \(Limits.largestDisk) bytes together",
          path: storage.path)
      }
      end = sum
    }
    size = end
    placed = parts
  }

  public var parts: [any Storage] { placed.map(\.storage) }

  /// The part that holds the byte at `offset`, which is less than `size`, where in that part it is,
  /// and how many bytes of the part follow.
  public func part(
    at offset: FileOffset
  ) -> (storage: any Storage, at: FileOffset, length: UInt64) {
    let part = placed[index(of: offset.bytes)]
    return (
      part.storage, FileOffset(offset.bytes - part.start), part.end - offset.bytes
    )
  }

  /// The first part, which is how the user named the image.
  public var path: String { placed[0].storage.path }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard offset.bytes <= size, UInt64(buffer.byteCount) <= size - offset.bytes else {
      throw DiskError(
        .truncated, "the parts end before the bytes that belong here",
        path: placed[placed.count - 1].storage.path, offset: offset.bytes)
    }
    var done = 0
    while done < buffer.byteCount {
      let place = offset.bytes + UInt64(done)
      let part = placed[index(of: place)]
      let count = Int(min(UInt64(buffer.byteCount - done), part.end - place))
      var piece = buffer._mutatingExtracting(done..<done + count)
      try part.storage.read(at: FileOffset(place - part.start), into: &piece)
      done += count
    }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    guard offset.bytes < size else { return StorageRegion(isHole: false, length: max(1, limit)) }
    let part = placed[index(of: offset.bytes)]
    return try part.storage.region(
      at: FileOffset(offset.bytes - part.start), limit: min(limit, part.end - offset.bytes))
  }

  public var allocatedBytes: UInt64 { placed.reduce(0) { $0 + $1.storage.allocatedBytes } }

  public var modificationTime: (seconds: Int, nanoseconds: Int) {
    placed.map(\.storage.modificationTime).max { $0 < $1 } ?? (0, 0)
  }

  /// The part that holds `place`, which is less than `size`. Empty parts hold nothing: the last of
  /// those that start at or before `place` is the one.
  private func index(of place: UInt64) -> Int {
    var low = 0
    var high = placed.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if placed[middle].start <= place { low = middle } else { high = middle }
    }
    return low
  }
}
