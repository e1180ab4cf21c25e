internal import Glibc
internal import Synchronization

/// A regular file or a block device, open for reading.
public final class FileStorage: Storage {
  public let path: String
  private let length: Atomic<UInt64>
  public let modificationTime: (seconds: Int, nanoseconds: Int)
  public let identity: FileIdentity?
  let descriptor: OwnedDescriptor
  private let isRegular: Bool

  /// Opens `path`.
  ///
  /// - Throws: what `open(2)` says; `invalidRequest` for a directory or anything else that is
  ///   neither a regular file nor a block device.
  public convenience init(path: String) throws(DiskError) {
    try self.init(adopting: OwnedDescriptor.open(reading: path), path: path)
  }

  /// Takes a file that is open for reading; as `init(path:)`.
  public init(adopting descriptor: consuming OwnedDescriptor, path: String) throws(DiskError) {
    var status = stat()
    guard unsafe fstat(descriptor.number, &status) == 0 else {
      throw DiskError(system: errno, "cannot look at it", path: path)
    }
    let size: UInt64
    switch status.st_mode & S_IFMT {
    case S_IFREG:
      isRegular = true
      size = UInt64(max(0, status.st_size))
    case S_IFBLK:
      isRegular = false
      let end = lseek(descriptor.number, 0, SEEK_END)
      guard end >= 0 else { throw DiskError(system: errno, "cannot find its size", path: path) }
      size = UInt64(end)
    case S_IFDIR:
      throw DiskError(
        .invalidRequest, "is a directory; name the image file inside it", path: path)
    default:
      throw DiskError(
        .invalidRequest, "is neither a regular file nor a block device", path: path)
    }
    guard size <= Limits.largestDisk else {
      throw DiskError(.unsupported, "is larger than \(Limits.largestDisk) bytes", path: path)
    }
    identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    length = Atomic(size)
    modificationTime = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    self.path = path
    self.descriptor = descriptor
  }

  /// For locks; the file's own until it goes.
  public var descriptorNumber: CInt { descriptor.number }

  public var size: UInt64 { length.load(ordering: .relaxed) }

  /// The file now reaches at least this far.
  func grow(to size: UInt64) { length.max(size, ordering: .relaxed) }

  func setSize(_ size: UInt64) { length.store(size, ordering: .relaxed) }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard offset.bytes <= size, UInt64(buffer.byteCount) <= size - offset.bytes else {
      throw pastEnd(offset)
    }
    var failure: DiskError? = nil
    unsafe buffer.withUnsafeMutableBytes { bytes in
      var done = 0
      while done < bytes.count {
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
        let place = offset + UInt64(done)
        let count = unsafe pread(
          descriptor.number, rest.baseAddress, rest.count, off_t(place.bytes))
        if count > 0 {
          done += count
        } else if count == 0 {
          failure = pastEnd(place)
          return
        } else if errno != EINTR {
          failure = DiskError(system: errno, "cannot read", path: path, offset: place.bytes)
          return
        }
      }
    }
    if let failure { throw failure }
  }

  private func pastEnd(_ offset: FileOffset) -> DiskError {
    DiskError(
      .truncated, "the file ends before the bytes that belong here", path: path,
      offset: offset.bytes)
  }

  /// From `SEEK_DATA` and `SEEK_HOLE`; a file system that knows no holes, or a block device, is
  /// data throughout.
  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    let rest = min(limit, size - min(size, offset.bytes))
    guard isRegular, rest > 0 else { return StorageRegion(isHole: false, length: max(1, limit)) }
    let data = lseek(descriptor.number, off_t(offset.bytes), SeekWhence.data)
    if data < 0 {
      guard errno == ENXIO else { return StorageRegion(isHole: false, length: rest) }
      // No data from here to the end of the file, which can be nearer than it was when the file was
      // opened: what was cut off is not a hole.
      let end = try currentSize()
      let left = end - min(end, offset.bytes)
      guard left > 0 else { return StorageRegion(isHole: false, length: rest) }
      return StorageRegion(isHole: true, length: min(rest, left))
    }
    if UInt64(data) > offset.bytes {
      return StorageRegion(isHole: true, length: min(rest, UInt64(data) - offset.bytes))
    }
    let hole = lseek(descriptor.number, off_t(offset.bytes), SeekWhence.hole)
    guard hole > off_t(offset.bytes) else { return StorageRegion(isHole: false, length: rest) }
    return StorageRegion(isHole: false, length: min(rest, UInt64(hole) - offset.bytes))
  }

  private func currentSize() throws(DiskError) -> UInt64 {
    var status = stat()
    guard unsafe fstat(descriptor.number, &status) == 0 else {
      throw DiskError(system: errno, "cannot look at it", path: path)
    }
    return UInt64(max(0, status.st_size))
  }

  public var allocatedBytes: UInt64 {
    var status = stat()
    guard isRegular, unsafe fstat(descriptor.number, &status) == 0 else { return size }
    return UInt64(max(0, status.st_blocks)) * 512
  }
}
