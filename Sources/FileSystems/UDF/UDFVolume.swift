internal import DiskCore

/// The bytes of one UDF volume as its structures count them, and what was noticed in them.
///
/// Small structures are read in pages that are kept while there is room: a look at each of 20,000 file
/// entries reads each block once.
final class UDFVolume: Sendable {
  /// In bytes.
  private static let pageSize: UInt64 = 16 << 10
  /// Together 4 MiB.
  private static let keptPages = 256

  let volume: Volume
  /// Of what stands outside partitions, in bytes.
  let sectorSize: UInt64
  let notes = UDFNotes()
  private let pages: LoadCache<UInt64, ByteReader>

  init(_ volume: Volume, sectorSize: UInt64) {
    self.volume = volume
    self.sectorSize = sectorSize
    pages = LoadCache(capacity: Self.keptPages) { (index) throws(DiskError) in
      let start = index * Self.pageSize
      return try volume.reader(
        at: DiskOffset(start), count: Int(min(Self.pageSize, volume.size - start)))
    }
  }

  /// A reader over `count` bytes of metadata from `position` on, in bytes from the volume's start.
  ///
  /// - Throws: `truncated` where they reach past the volume.
  func reader(at position: UInt64, count: Int) throws(DiskError) -> ByteReader {
    guard count >= 0, position <= volume.size, UInt64(count) <= volume.size - position else {
      throw failure(.truncated, "the volume ends before a structure that belongs here", position)
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

  /// One sector, by its number.
  func sector(_ number: UInt32) throws(DiskError) -> ByteReader {
    try reader(at: UInt64(number) * sectorSize, count: Int(sectorSize))
  }

  func failure(_ kind: DiskError.Kind, _ message: String, _ position: UInt64) -> DiskError {
    DiskError(kind, message, path: volume.storage.path, offset: position)
  }

  /// The descriptor that `reader` starts with: nil where there is none. What its tag has wrong is noted,
  /// because discs that are read everywhere have it wrong too.
  ///
  /// - Parameter location: the block that its tag should name.
  func tag(_ reader: ByteReader, location: UInt32?) -> UDFTag? {
    guard let tag = UDFTag(reader) else { return nil }
    if !tag.covers(reader) {
      notes.add(
        "descriptors whose checksum is wrong, the first at byte \(reader.base)", as: .checksum)
    }
    if let location, tag.location != location {
      notes.add(
        "descriptors that say they are elsewhere, the first at byte \(reader.base)", as: .location)
    }
    return tag
  }
}
