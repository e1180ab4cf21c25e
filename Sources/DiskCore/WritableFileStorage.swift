internal import CPosix
internal import Glibc

/// A regular file, open for reading and writing.
public final class WritableFileStorage: WritableStorage {
  private let file: FileStorage
  /// Whether there is anything to be safe from a power cut.
  private let outlivesPower: Bool

  /// - Parameter descriptor: open for both.
  /// - Throws: `invalidRequest` for what is no regular file or block device.
  public convenience init(
    adopting descriptor: consuming OwnedDescriptor, path: String
  ) throws(DiskError) {
    try self.init(descriptor, path, outlivesPower: true)
  }

  private init(
    _ descriptor: consuming OwnedDescriptor, _ path: String, outlivesPower: Bool
  ) throws(DiskError) {
    file = try FileStorage(adopting: descriptor, path: path)
    self.outlivesPower = outlivesPower
  }

  /// Opens `path` for both.
  public convenience init(path: String) throws(DiskError) {
    let number = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard number >= 0 else { throw DiskError(system: errno, "cannot open for writing", path: path) }
    try self.init(adopting: OwnedDescriptor(adopting: number), path: path)
  }

  /// Opens the very file that `file` has open for reading, wherever its path leads by now.
  ///
  /// - Throws: `permissionDenied` where this user may not write to it.
  public convenience init(reopening file: FileStorage) throws(DiskError) {
    let number = unsafe Glibc.open(
      file.descriptor.procPath, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard number >= 0 else {
      throw DiskError(system: errno, "cannot open for writing", path: file.path)
    }
    try self.init(adopting: OwnedDescriptor(adopting: number), path: file.path)
    guard identity == file.identity else {
      throw DiskError(.inputOutput, "another file was found in its place", path: file.path)
    }
  }

  /// Makes an empty file that does not exist yet.
  public convenience init(creating path: String) throws(DiskError) {
    try self.init(adopting: Self.make(path), path: path)
  }

  /// Makes an empty file without a name, which is gone when it is closed: no flush waits for the disk.
  ///
  /// - Parameter path: where it has a name for a moment; it says what file system the file is on.
  public convenience init(creatingNameless path: String) throws(DiskError) {
    // Nobody else may open it meanwhile.
    let descriptor = try Self.make(path, mode: 0o600)
    unsafe unlink(path)
    try self.init(descriptor, path, outlivesPower: false)
  }

  private static func make(
    _ path: String, mode: mode_t = 0o644
  ) throws(DiskError) -> OwnedDescriptor {
    let number = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard number >= 0 else { throw DiskError(system: errno, "cannot make", path: path) }
    return OwnedDescriptor(adopting: number)
  }

  public var path: String { file.path }
  public var size: UInt64 { file.size }
  public var identity: FileIdentity? { file.identity }
  public var allocatedBytes: UInt64 { file.allocatedBytes }
  public var modificationTime: (seconds: Int, nanoseconds: Int) { file.modificationTime }
  /// For locks and ioctls.
  public var descriptor: CInt { file.descriptor.number }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    try file.read(at: offset, into: &buffer)
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    try file.region(at: offset, limit: limit)
  }

  /// Linux takes memory for new pages of a file in blocks as large as the write. A virtual machine whose
  /// host takes free blocks back (free page reporting, from 128 KiB on) waits for each such block again:
  /// pieces below that were written twice as fast there, and as fast as larger ones elsewhere.
  private static let piece = 64 << 10

  public func write(_ bytes: RawSpan, at offset: FileOffset) throws(DiskError) {
    var failure: CInt = 0
    unsafe bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count, failure == 0 {
        let end = min(bytes.count, done + Self.piece)
        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[done..<end])
        let count = unsafe pwrite(
          descriptor, rest.baseAddress, rest.count, off_t(offset.bytes) + off_t(done))
        if count > 0 {
          done += count
        } else if count == 0 {
          failure = ENOSPC
        } else if errno != EINTR {
          failure = errno
        }
      }
    }
    if failure != 0 {
      throw DiskError(system: failure, "cannot write", path: path, offset: offset.bytes)
    }
    file.grow(to: offset.bytes + UInt64(bytes.byteCount))
  }

  public func flush() throws(DiskError) {
    guard outlivesPower else { return }
    guard fdatasync(descriptor) == 0 else {
      throw DiskError(system: errno, "cannot write it to the disk", path: path)
    }
  }

  public func resize(to size: UInt64) throws(DiskError) {
    guard ftruncate(descriptor, off_t(size)) == 0 else {
      throw DiskError(system: errno, "cannot change its size", path: path)
    }
    file.setSize(size)
  }

  public func punch(at offset: FileOffset, length: UInt64) throws(DiskError) {
    if platter_punch(descriptor, off_t(offset.bytes), off_t(length)) == 0 { return }
    // EINVAL: a block device gives back whole sectors only.
    guard errno == EOPNOTSUPP || errno == EINVAL || errno == ENODEV else {
      throw DiskError(system: errno, "cannot give back space", path: path, offset: offset.bytes)
    }
    let zeros = [UInt8](repeating: 0, count: Int(min(length, 1 << 20)))
    var done: UInt64 = 0
    while done < length {
      let count = Int(min(length - done, UInt64(zeros.count)))
      try unsafe write(zeros.span.bytes.extracting(0..<count), at: offset + done)
      done += UInt64(count)
    }
  }
}
