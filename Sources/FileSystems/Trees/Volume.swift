public import DiskCore

/// The window that a file system is in, as its driver sees it.
public struct Volume: Sendable {
  public let window: Window
  /// The same as a source of extents.
  public let storage: WindowStorage
  public let options: FileSystemOptions

  public init(_ window: Window, options: FileSystemOptions = FileSystemOptions()) {
    self.window = window
    storage = WindowStorage(window)
    self.options = options
  }

  /// In bytes.
  public var size: UInt64 { window.size }

  /// A reader over `count` bytes from `offset` on, whose errors name the offset in the volume.
  ///
  /// - Throws: where they reach past the volume, are more than `Limits.largestMetadataRead`, or cannot
  ///   be read.
  public func reader(at offset: DiskOffset, count: Int) throws(DiskError) -> ByteReader {
    try window.reader(at: offset, count: count)
  }

  /// `length` stored bytes from `offset` on as the answer of a file's content. What reaches past the
  /// volume is unreadable, and only that.
  ///
  /// - Parameter length: at least 1.
  public func extent(at offset: DiskOffset, length: UInt64) -> Extent {
    guard offset.bytes < size else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "the volume ends before this part of the file", path: storage.path,
            offset: offset.bytes)), length: length)
    }
    return Extent(
      .stored(storage, at: FileOffset(offset.bytes)), length: min(length, size - offset.bytes))
  }
}

/// What a person can say about how a file system is read.
public struct FileSystemOptions: Sendable {
  /// Which of an ISO 9660 disc's sets of names.
  public enum ISONames: String, Sendable, CaseIterable {
    case rockRidge = "rock-ridge"
    case joliet
    case iso
  }

  /// Nil for the best that there is.
  public var isoNames: ISONames?
  /// Of the short names of FAT: `437`, `850`, `866`, `932`, …
  public var codePage: Int
  /// Seconds east of Greenwich at a moment, for file systems that keep local time (FAT): what the time
  /// zone of this process says, where nothing else is.
  public var localTimeOffset: @Sendable (FileTime) -> Int

  public init(
    isoNames: ISONames? = nil, codePage: Int = 437,
    localTimeOffset: (@Sendable (FileTime) -> Int)? = nil
  ) {
    self.isoNames = isoNames
    self.codePage = codePage
    self.localTimeOffset = localTimeOffset ?? LocalTime.offset
  }

}
