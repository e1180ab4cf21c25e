/// A window as stored bytes, for what lies inside a disk: the files of a file system, an image in a
/// partition. Extents that point into it are read through the disk's own engine.
public final class WindowStorage: Storage {
  public let window: Window
  /// The file that the disk's top layer is in.
  private let file: (any Storage)?

  public init(_ window: Window) {
    self.window = window
    file = window.disk.files.first
  }

  public var path: String { file?.path ?? "a disk" }
  public var parts: [any Storage] { window.disk.files }
  public var size: UInt64 { window.size }
  public var allocatedBytes: UInt64 { window.size }
  public var modificationTime: (seconds: Int, nanoseconds: Int) {
    file?.modificationTime ?? (0, 0)
  }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard offset.bytes <= size, UInt64(buffer.byteCount) <= size - offset.bytes else {
      throw DiskError(
        .truncated, "the volume ends before the bytes that belong here", path: path,
        offset: offset.bytes)
    }
    try window.read(at: DiskOffset(offset.bytes), into: &buffer)
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    guard offset.bytes < size else { return StorageRegion(isHole: false, length: 1) }
    let entry = try window.mapEntry(at: DiskOffset(offset.bytes), limit: limit)
    let isHole = if case .zero = entry.content { true } else { false }
    return StorageRegion(isHole: isHole, length: entry.length)
  }

  public func way(to offset: FileOffset, count: UInt64) -> UInt64 {
    window.way(to: DiskOffset(offset.bytes), count: count)
  }
}
