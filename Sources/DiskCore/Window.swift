internal import Glibc

/// A part of a disk that its reader sees as a disk of its own: a partition, or the whole disk.
///
/// Offsets are from the window's start; the sum to the disk's offset is made here and nowhere else.
public struct Window: Sendable {
  public let disk: Disk
  /// Where the window starts in the disk.
  public let start: DiskOffset
  /// In bytes.
  public let size: UInt64

  init(whole disk: Disk) {
    self.disk = disk
    start = .start
    size = disk.size
  }

  /// The part of this window from `offset` on.
  ///
  /// - Throws: `invalidRequest` where it does not lie inside the window.
  public func window(at offset: DiskOffset, size: UInt64) throws(DiskError) -> Window {
    guard offset.bytes <= self.size, size <= self.size - offset.bytes else {
      throw DiskError(
        .invalidRequest, "\(size) bytes from here on reach past the \(self.size) bytes there are",
        offset: offset.bytes)
    }
    return Window(disk: disk, start: start + offset.bytes, size: size)
  }

  private init(disk: Disk, start: DiskOffset, size: UInt64) {
    self.disk = disk
    self.start = start
    self.size = size
  }

  /// Fills `buffer` with the window's bytes from `offset` on; fails as `Disk.read` does, and where
  /// that would reach past the window.
  public func read(at offset: DiskOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard offset.bytes <= size, UInt64(buffer.byteCount) <= size - offset.bytes else {
      throw DiskError(
        .invalidRequest, "\(buffer.byteCount) bytes reach past the end", offset: offset.bytes)
    }
    try disk.read(at: start + offset.bytes, into: &buffer)
  }

  /// Writes `bytes` from `offset` on, as `Disk.write`; ENOSPC where they reach past the window.
  public func write(at offset: DiskOffset, from bytes: RawSpan) throws(DiskError) {
    try checkEnd(offset, UInt64(bytes.byteCount))
    try disk.write(at: start + offset.bytes, from: bytes)
  }

  /// Makes a range read as zeros, as `Disk.zero`; ENOSPC where it reaches past the window.
  public func zero(at offset: DiskOffset, length: UInt64) throws(DiskError) {
    try checkEnd(offset, length)
    try disk.zero(at: start + offset.bytes, length: length)
  }

  /// How many bytes must be decoded, and thrown away, before these `count` ones can be read; 0 where they can be
  /// read at once. An estimate that reads nothing.
  public func way(to offset: DiskOffset, count: UInt64) -> UInt64 {
    guard offset.bytes < size, count > 0 else { return 0 }
    return disk.way(to: start + offset.bytes, count: min(count, size - offset.bytes))
  }

  /// Where in the disk it is.
  public var range: Range<UInt64> { start.bytes..<start.bytes + size }

  /// Whether `other` shows the same bytes.
  public func isSame(as other: Window) -> Bool {
    disk === other.disk && range == other.range
  }

  private func checkEnd(_ offset: DiskOffset, _ length: UInt64) throws(DiskError) {
    guard offset.bytes <= size, length <= size - offset.bytes else {
      throw DiskError(
        .inputOutput, "\(length) bytes reach past the end", offset: offset.bytes,
        systemError: ENOSPC)
    }
  }

  /// `count` bytes from `offset` on, for headers and tables.
  ///
  /// - Throws: as `read(at:into:)`; `malformed` for more than `Limits.largestMetadataRead`.
  public func bytes(at offset: DiskOffset, count: Int) throws(DiskError) -> [UInt8] {
    guard count >= 0, count <= Limits.largestMetadataRead else {
      throw DiskError(
        .malformed, "\(count) bytes of metadata are more than any disk needs",
        offset: offset.bytes)
    }
    return try [UInt8](count: count) { (buffer) throws(DiskError) in
      try read(at: offset, into: &buffer)
    }
  }

  /// A reader over `count` bytes from `offset` on, whose errors name the offset in this window.
  public func reader(at offset: DiskOffset, count: Int) throws(DiskError) -> ByteReader {
    ByteReader(try bytes(at: offset, count: count), base: offset.bytes)
  }
}
