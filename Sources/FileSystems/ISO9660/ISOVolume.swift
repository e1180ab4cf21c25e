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
  private let path: String
  /// Nil for those that cannot be read: to try that again for each record in them could take hours, where
  /// the disk that the image is on has a bad sector.
  private let pages: LoadCache<UInt64, ByteReader?>

  init(_ volume: Volume, blockSize: UInt64) {
    self.volume = volume
    self.blockSize = blockSize
    path = volume.storage.path
    pages = LoadCache(capacity: Self.keptPages) { [path] (index) throws(DiskError) in
      let start = index * Self.pageSize
      let count = Int(min(Self.pageSize, volume.size - start))
      let bytes = try? volume.window.bytes(at: DiskOffset(start), count: count)
      return bytes.map { ByteReader($0, path: path, base: start) }
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
      let part = try? page.part(at: within, count: count)
    {
      return part
    }
    return ByteReader(
      try volume.window.bytes(at: DiskOffset(position), count: count), path: path, base: position)
  }

  /// A reader from `position` on to the end of its sector, or of the volume.
  ///
  /// - Throws: `truncated` where the volume ends before.
  func restOfSector(at position: UInt64) throws(DiskError) -> ByteReader {
    let left = Self.sectorSize - position % Self.sectorSize
    return try reader(
      at: position, count: Int(max(1, min(left, volume.size - min(position, volume.size)))))
  }

  func failure(_ kind: DiskError.Kind, _ message: String, _ position: UInt64) -> DiskError {
    DiskError(kind, message, path: volume.storage.path, offset: position)
  }
}
