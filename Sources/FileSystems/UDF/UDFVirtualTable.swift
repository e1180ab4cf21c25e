internal import DiskCore

/// The virtual allocation table of a write-once disc, which gives blocks their newest place (UDF 1.50,
/// 2.2.10; UDF 2.60, 2.2.11).
struct UDFVirtualTable: Sendable {
  /// A block that has none.
  private static let unused: UInt32 = 0xFFFF_FFFF
  /// File types of an ICB: in UDF 2.00 and later, and before.
  private static let fileType: UInt8 = 248
  private static let oldFileType: UInt8 = 0
  /// In blocks. The table is the last thing that was written; an image can have more behind it, such as
  /// the run-out of a track, or lack it, and then an older one is the best there is.
  private static let searched: UInt64 = 16384
  /// Files that may be the table and are looked into.
  private static let mostCandidates = 4
  /// In bytes: a table of four million blocks.
  private static let mostBytes = Limits.largestMetadataRead
  /// As many blocks of 512 bytes as that.
  private static let mostRuns = 1 << 15
  /// Of the newer form, before its entries.
  private static let shortestHeader = 152
  /// Of the older form, behind its entries.
  private static let trailer = 36

  private let entries: [UInt32]
  /// Of its file entry, in bytes from the volume's start.
  private let position: UInt64

  /// The newest table in a partition that can be read: where the last one cannot, an older one shows what
  /// was there before the last session.
  ///
  /// - Parameter space: in which nothing virtual is found, so that a table cannot be in itself.
  /// - Throws: `malformed` where there is none.
  init(
    _ partition: UDFRealPartition, reference: UInt16, _ space: UDFSpace
  ) throws(DiskError) {
    let volume = space.volume
    let end = min(
      partition.blocks,
      (max(volume.volume.size, partition.position) - partition.position)
        / space.blockSize)
    var block = end
    var candidates = 0
    var damaged: (entries: [UInt32], position: UInt64)? = nil
    while block > 0, end - block < Self.searched, candidates < Self.mostCandidates {
      block -= 1
      let address = UDFAddress(block: UInt32(clamping: block), partition: reference)
      guard let (entry, isWhole) = Self.candidate(at: address, space) else { continue }
      candidates += 1
      do throws(DiskError) {
        guard let found = try Self.table(entry, space) else { continue }
        if isWhole {
          (entries, position) = (found, entry.position)
          return
        }
        damaged = damaged ?? (found, entry.position)
      } catch {
        // Only one that says what it is can be known to be lost.
        guard entry.fileType == Self.fileType else { continue }
      }
      volume.notes.add(
        "the last virtual allocation table is damaged: what was written last may be missing")
    }
    // Better than none.
    if let damaged {
      (entries, position) = damaged
      return
    }
    throw volume.failure(
      .malformed,
      "there is no virtual allocation table in the last \(Self.searched) blocks; the image may "
        + "lack the end of the disc", partition.position)
  }

  /// The file entry at `address`, where there is one that can be the table's, and whether it is as it was
  /// written.
  private static func candidate(
    at address: UDFAddress, _ space: UDFSpace
  ) -> (entry: UDFFileEntry, isWhole: Bool)? {
    guard let block = try? space.block(at: address), let tag = UDFTag(block),
      tag.kind == UDFTag.Kind.fileEntry || tag.kind == UDFTag.Kind.extendedFileEntry,
      let entry = try? UDFFileEntry(block, tag, address),
      entry.fileType == fileType || entry.fileType == oldFileType
    else { return nil }
    return (entry, tag.covers(block))
  }

  /// Nil where the file is another one.
  private static func table(
    _ entry: UDFFileEntry, _ space: UDFSpace
  ) throws(DiskError) -> [UInt32]? {
    guard entry.size <= UInt64(mostBytes) else { return nil }
    let content = try UDFContent(entry, space, mostRuns: mostRuns)
    let size = Int(entry.size)
    if entry.fileType == fileType {
      let header = Int(try content.reader(at: 0, count: 2).u16(at: 0))
      guard header >= shortestHeader, header <= size else { return nil }
      let count = (size - header) / 4
      return try content.reader(at: UInt64(header), count: 4 * count)
        .integers(at: 0, count: count, .little)
    }
    let end = size - trailer
    guard end >= 0,
      try content.reader(at: UInt64(end), count: trailer).matches("*UDF Virtual Alloc Tbl", at: 1)
    else { return nil }
    return try content.reader(at: 0, count: end).integers(at: 0, count: end / 4, .little)
  }

  /// Which block of the partition below stands for `block`, and for how many from there on the same
  /// distance holds.
  func blocks(
    at block: UInt32, _ volume: UDFVolume
  ) throws(DiskError) -> (stored: UInt32, count: UInt64) {
    guard block < entries.count, entries[Int(block)] != Self.unused else {
      throw volume.failure(
        .malformed,
        "block \(block) is not in the virtual allocation table, which has \(entries.count) blocks",
        position)
    }
    let stored = entries[Int(block)]
    var count = 1
    // More than this is asked for again.
    while count < 256, Int(block) + count < entries.count,
      UInt64(entries[Int(block) + count]) == UInt64(stored) + UInt64(count)
    {
      count += 1
    }
    return (stored, UInt64(count))
  }
}
