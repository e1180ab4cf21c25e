internal import DiskCore

/// The bytes of a log, and what is written in them ([MS-VHDX] 2.3.1).
///
/// Everything in a log is in sectors of 4 KiB, of which the entries are made: sectors of descriptors,
/// the first one with a header, then sectors of data. The log is a ring, so an entry may go on at its
/// start; a sector does not.
struct VHDXLogBytes: Sendable {
  static let sector = 4096
  private static let headerBytes = 64
  private static let descriptorBytes = 32

  /// The whole log.
  private let log: ByteReader
  /// As in the current header: entries with another one are of an earlier time.
  private let guid: String

  init(_ log: ByteReader, guid: String) {
    self.log = log
    self.guid = guid
  }

  /// In bytes: a multiple of `sector`.
  var count: Int { log.count }

  struct Entry: Sendable {
    /// In the log, in bytes.
    let start: Int
    let length: Int
    /// Where the first entry of the sequence starts that ends with this one.
    let tail: Int
    let sequence: UInt64
    let descriptors: Int
    /// How long the file was at least, in bytes, and how long it is to be.
    let flushedFileSize: UInt64
    let fileSize: UInt64

    /// How many sectors the header and the descriptors take.
    var descriptorSectors: Int {
      (headerBytes + descriptorBytes * descriptors + sector - 1) / sector
    }
  }

  /// The header of the entry at `start`; nil where there is none that can be right. Its checksum and
  /// its descriptors are not looked at.
  func header(at start: Int) throws(DiskError) -> Entry? {
    guard log.matches("loge", at: start), try log.guid(at: start + 32) == guid else { return nil }
    let entry = Entry(
      start: start, length: Int(try log.u32(at: start + 8)),
      tail: Int(try log.u32(at: start + 12)), sequence: try log.u64(at: start + 16),
      descriptors: Int(try log.u32(at: start + 24)),
      flushedFileSize: try log.u64(at: start + 48), fileSize: try log.u64(at: start + 56))
    let isPossible =
      entry.length > 0 && entry.length % Self.sector == 0 && entry.length <= count
      && entry.tail % Self.sector == 0 && entry.tail < count && entry.sequence > 0
      && entry.descriptorSectors * Self.sector <= entry.length
      && entry.fileSize <= Limits.largestDisk
    return isPossible ? entry : nil
  }

  func hasValidChecksum(_ entry: Entry) throws(DiskError) -> Bool {
    var crc = CRC32C()
    crc.update(try log.slice(at: entry.start, count: 4))
    crc.update([0, 0, 0, 0])
    let end = entry.start + entry.length
    let first = min(end, count)
    crc.update(try log.slice(at: entry.start + 8, count: first - entry.start - 8))
    crc.update(try log.slice(at: 0, count: end - first))
    return crc.value == (try log.u32(at: entry.start + 4))
  }

  /// What the entry changes in the file, in order; nil where its descriptors or its data are not of one
  /// piece with it.
  ///
  /// - Parameter keepingData: false to learn only whether they are.
  func changes(
    of entry: Entry, keepingData: Bool
  ) throws(DiskError) -> [PatchedStorage.Patch]? {
    var changes: [PatchedStorage.Patch] = []
    var data = entry.descriptorSectors * Self.sector
    for index in 0..<entry.descriptors {
      let place =
        (entry.start + Self.headerBytes + Self.descriptorBytes * index) % count
      let target = try log.u64(at: place + 16)
      let isData = log.matches("desc", at: place)
      let length = isData ? UInt64(Self.sector) : try log.u64(at: place + 8)
      let (end, overflow) = target.addingReportingOverflow(length)
      guard isData || log.matches("zero", at: place),
        try log.u64(at: place + 24) == entry.sequence, target % UInt64(Self.sector) == 0,
        length % UInt64(Self.sector) == 0, !overflow, end <= Limits.largestDisk
      else { return nil }
      guard isData else {
        if keepingData { changes.append(.init(zerosAt: FileOffset(target), count: length)) }
        continue
      }
      let sector = (entry.start + data) % count
      data += Self.sector
      guard data <= entry.length, log.matches("data", at: sector),
        try log.u32(at: sector + 4) == UInt32(truncatingIfNeeded: entry.sequence >> 32),
        try log.u32(at: sector + 4092) == UInt32(truncatingIfNeeded: entry.sequence)
      else { return nil }
      if keepingData {
        // Its first eight and last four bytes stand in the descriptor.
        let bytes =
          try log.slice(at: place + 8, count: 8) + log.slice(at: sector + 8, count: 4084)
          + log.slice(at: place + 4, count: 4)
        changes.append(.init(at: FileOffset(target), bytes: Array(bytes)))
      }
    }
    return changes
  }
}
