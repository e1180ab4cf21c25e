internal import DiskCore

/// The bytes of one ISO 9660 volume as its structures count them: in logical blocks.
///
/// Directories and continuation areas are read in pages that are kept while there is room: a look at
/// each of 20,000 records reads each sector once.
final class ISOVolume: Sendable {
  /// Descriptors, the boot catalogue and the ends of directory records are in sectors of this size,
  /// whatever the block size (ECMA-119, 6.1.2).
  static let sectorSize: UInt64 = 2048
  /// In bytes.
  private static let pageSize: UInt64 = 16 << 10
  /// Together 4 MiB.
  private static let keptPages = 256

  let volume: Volume
  /// 512, 1,024 or 2,048 bytes.
  let blockSize: UInt64
  private let pages: LoadCache<UInt64, ByteReader>

  init(_ volume: Volume, blockSize: UInt64) {
    self.volume = volume
    self.blockSize = blockSize
    pages = LoadCache(capacity: Self.keptPages) { (index) throws(DiskError) in
      let start = index * Self.pageSize
      return try volume.reader(
        at: DiskOffset(start), count: Int(min(Self.pageSize, volume.size - start)))
    }
  }

  /// Where a block is, in bytes; less than 2⁴³, so that no later sum overflows.
  func position(ofBlock block: UInt32) -> UInt64 { UInt64(block) * blockSize }

  /// A reader over `count` bytes of metadata from `position` on.
  ///
  /// - Throws: `truncated` where they reach past the volume.
  func reader(at position: UInt64, count: Int) throws(DiskError) -> ByteReader {
    guard position <= volume.size, UInt64(count) <= volume.size - position else {
      throw failure(
        .truncated, "the volume ends inside a directory or what belongs to it", position)
    }
    let within = Int(position % Self.pageSize)
    // A bad sector fails only what is in it, not its whole page.
    if count <= Int(Self.pageSize) - within,
      let page = try? pages.value(of: position / Self.pageSize),
      let slice = try? page.slice(at: within, count: count)
    {
      return ByteReader(Array(slice), path: volume.storage.path, base: position)
    }
    let bytes = try volume.reader(at: DiskOffset(position), count: count).bytes
    return ByteReader(bytes, path: volume.storage.path, base: position)
  }

  func failure(_ kind: DiskError.Kind, _ message: String, _ position: UInt64) -> DiskError {
    DiskError(kind, message, path: volume.storage.path, offset: position)
  }
}
