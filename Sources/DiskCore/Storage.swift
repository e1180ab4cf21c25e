/// Stored bytes that extents point into: a file, files in a row, memory.
///
/// Safe to call from any thread at once.
public protocol Storage: AnyObject, Sendable {
  /// What messages call it: the path as the user knows it.
  var path: String { get }

  /// The files it is made of: itself, unless it puts others in a row.
  var parts: [any Storage] { get }

  /// In bytes, as it was when the storage was opened.
  var size: UInt64 { get }

  /// Fills `buffer` with the bytes from `offset` on.
  ///
  /// - Throws: `truncated` where the file ends before the buffer is full, `inputOutput` where the
  ///   system fails. What the buffer holds then is undefined.
  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError)

  /// Whether the bytes at `offset` are stored at all or are a hole that reads as zeros, and for how
  /// many bytes that holds (at least 1, at most `limit`). Costs a system call: meant for maps and
  /// `SEEK_HOLE`, not for reads.
  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion

  /// How many bytes must be decoded, and thrown away, before these `count` ones can be had; 0 where they can be read
  /// at once. An estimate that reads nothing.
  func way(to offset: FileOffset, count: UInt64) -> UInt64

  /// How many bytes the file occupies where it is kept.
  var allocatedBytes: UInt64 { get }

  /// Which file it is, however many paths lead there; nil where it is not a single file.
  var identity: FileIdentity? { get }

  /// When the bytes last changed, in seconds and nanoseconds since 1970.
  var modificationTime: (seconds: Int, nanoseconds: Int) { get }
}

/// A file's device and number on it.
public struct FileIdentity: Hashable, Sendable {
  public let device: UInt64
  public let inode: UInt64

  public init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }
}

public struct StorageRegion: Sendable, Equatable {
  public let isHole: Bool
  /// Whether they are stored compressed, so that they have no place in the file.
  public let isCompressed: Bool
  public let length: UInt64

  public init(isHole: Bool, isCompressed: Bool = false, length: UInt64) {
    self.isHole = isHole
    self.isCompressed = isCompressed
    self.length = length
  }
}

extension Storage {
  public var parts: [any Storage] { [self] }
  public var identity: FileIdentity? { nil }
  public func way(to offset: FileOffset, count: UInt64) -> UInt64 { 0 }

  /// `count` bytes from `offset` on, for headers and tables.
  ///
  /// - Throws: `malformed` where `count` is more than `Limits.largestMetadataRead`; otherwise as
  ///   `read(at:into:)`.
  public func bytes(at offset: FileOffset, count: Int) throws(DiskError) -> [UInt8] {
    guard count >= 0, count <= Limits.largestMetadataRead else {
      throw DiskError(
        .malformed, "\(count) bytes of metadata are more than any image needs", path: path,
        offset: offset.bytes)
    }
    return try [UInt8](count: count) { (buffer) throws(DiskError) in
      try read(at: offset, into: &buffer)
    }
  }

  /// A reader over `count` bytes from `offset` on, whose errors name this file and the place in it.
  public func reader(at offset: FileOffset, count: Int) throws(DiskError) -> ByteReader {
    ByteReader(try bytes(at: offset, count: count), path: path, base: offset.bytes)
  }
}

extension [UInt8] {
  /// `count` bytes that `fill` writes.
  init(
    count: Int, filledBy fill: (inout MutableRawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    self.init(repeating: 0, count: count)
    var elements = mutableSpan
    var buffer = unsafe elements.mutableBytes
    try fill(&buffer)
  }
}
