internal import DiskCore

/// The changes to a VHDX's tables that were not yet made when the file was last written to, which
/// belong to what it holds ([MS-VHDX] 2.3.3). They are made in memory; the file is not touched.
struct VHDXLog {
  /// Logs that hold something are read whole, so that opening stays within its 64 MiB. Hyper-V's and
  /// QEMU's are 1 MiB.
  static let largest: UInt64 = 16 << 20

  /// How many changes are made at most: a log of 2 MiB cannot hold more.
  static let mostChanges = 65_536

  /// How many bytes checksums are computed of, in units of the log's length. Entries are written round
  /// and round, so that what is left of earlier ones hardly overlaps later ones.
  private static let mostChecked = 2

  private enum Knowledge: Sendable {
    case unknown, none
    case entry(VHDXLogBytes.Entry)
  }

  private let source: any Storage
  private let place: FileOffset
  private let bytes: VHDXLogBytes
  /// By sector of the log: what starts there.
  private var known: [Knowledge]
  private var unchecked: Int

  /// - Throws: `truncated` where the log does not lie within the file, `unsupported` where it is larger
  ///   than `largest`.
  private init(_ source: any Storage, in range: Range<UInt64>, guid: String) throws(DiskError) {
    guard range.upperBound - range.lowerBound <= Self.largest else {
      throw DiskError(
        .unsupported,
        "has a log of \(range.count) bytes that has to be applied first; at most \(Self.largest) are "
          + "read", path: source.path, offset: range.lowerBound)
    }
    self.source = source
    place = FileOffset(range.lowerBound)
    bytes = VHDXLogBytes(try source.reader(at: place, count: range.count), guid: guid)
    known = [Knowledge](repeating: .unknown, count: range.count / VHDXLogBytes.sector)
    unchecked = range.count * Self.mostChecked
  }

  /// The file as it is once its log is written out: `source` itself where there is nothing in the log.
  ///
  /// - Parameters:
  ///   - notes: gains a line where changes were made.
  ///   - checksums: gains those of the entries that belong to what the disk holds.
  /// - Throws: `malformed` where the log holds something, but no sequence of entries that is whole;
  ///   `truncated` where the file has become shorter since the log was written.
  static func replayed(
    _ source: any Storage, _ header: VHDXHeader, _ notes: inout [String],
    _ checksums: inout [RecordedChecksum]
  ) throws(DiskError) -> any Storage {
    guard let guid = header.logGUID else { return source }
    guard header.logVersion == 0 else {
      throw DiskError(
        .unsupported, "has a log of version \(header.logVersion); only 0 is specified",
        path: source.path, offset: header.log.lowerBound)
    }
    var log = try VHDXLog(source, in: header.log, guid: guid)
    let sequence = try log.activeSequence()
    guard let head = sequence.last else {
      throw DiskError(
        .malformed, "its log should hold changes that were not yet made, but is damaged",
        path: source.path, offset: header.log.lowerBound)
    }
    guard source.size >= head.flushedFileSize else {
      throw DiskError(
        .truncated,
        "the file is cut short: it has \(source.size) bytes, and had \(head.flushedFileSize) when its "
          + "log was written", path: source.path, offset: source.size)
    }
    checksums += sequence.map { log.checksum(of: $0) }
    let changes = try log.changes(of: sequence)
    guard !changes.isEmpty || head.fileSize > source.size else { return source }
    let size = changes.reduce(max(source.size, head.fileSize)) {
      max($0, $1.at.bytes + $1.count)
    }
    if !changes.isEmpty {
      notes.append(
        "the log held \(changes.count) changes not yet written; they were applied in memory")
    }
    return PatchedStorage(source, patches: changes, size: size)
  }

  /// The newest sequence of entries that is whole, oldest entry first; empty where there is none.
  ///
  /// Looked for from every sector of the log on. Since each entry of a sequence has the next number,
  /// none comes twice, and a sequence ends. Where one is not whole, neither is what is left of it when
  /// its first entries are taken away, so those are not tried.
  private mutating func activeSequence() throws(DiskError) -> [VHDXLogBytes.Entry] {
    var active: [VHDXLogBytes.Entry] = []
    var isTried = [Bool](repeating: false, count: known.count)
    var tail = 0
    while tail < bytes.count {
      guard !isTried[tail / VHDXLogBytes.sector] else {
        tail += VHDXLogBytes.sector
        continue
      }
      var sequence: [VHDXLogBytes.Entry] = []
      var end = tail
      while let entry = try entry(at: end % bytes.count) {
        if let last = sequence.last, entry.sequence != last.sequence &+ 1 { break }
        sequence.append(entry)
        end += entry.length
      }
      // What is before the tail of the last entry has been written out, and may since have been
      // overwritten by what is in no log.
      guard let head = sequence.last,
        let first = sequence.firstIndex(where: { $0.start == head.tail })
      else {
        for entry in sequence { isTried[entry.start / VHDXLogBytes.sector] = true }
        tail += VHDXLogBytes.sector
        continue
      }
      if head.sequence > active.last?.sequence ?? 0 { active = Array(sequence[first...]) }
      tail = end
    }
    return active
  }

  /// The entry that starts at `start` in the log; nil where there is none or it is damaged.
  private mutating func entry(at start: Int) throws(DiskError) -> VHDXLogBytes.Entry? {
    let sector = start / VHDXLogBytes.sector
    switch known[sector] {
    case .none: return nil
    case .entry(let entry): return entry
    case .unknown: break
    }
    known[sector] = .none
    guard let entry = try bytes.header(at: start) else { return nil }
    guard entry.length <= unchecked else {
      throw DiskError(
        .malformed, "its log is damaged: its entries lie on top of each other", path: source.path,
        offset: place.bytes + UInt64(start))
    }
    unchecked -= entry.length
    guard try bytes.hasValidChecksum(entry),
      try bytes.changes(of: entry, keepingData: false) != nil
    else { return nil }
    known[sector] = .entry(entry)
    return entry
  }

  /// The log is a ring: what does not fit at its end goes on at its start.
  private func checksum(of entry: VHDXLogBytes.Entry) -> RecordedChecksum {
    let start = place.bytes + UInt64(entry.start)
    let end = start + UInt64(entry.length)
    let first = min(end, place.bytes + UInt64(bytes.count))
    var parts: [RecordedChecksum.Part] = [
      .stored(source, start..<start + 4), .bytes([0, 0, 0, 0]), .stored(source, start + 8..<first),
    ]
    if end > first { parts.append(.stored(source, place.bytes..<place.bytes + (end - first))) }
    return RecordedChecksum(
      "log entry CRC-32C", name: "\(entry.sequence)", of: parts,
      is: .stored(source, at: FileOffset(start + 4), .little), by: { CRC32C() })
  }

  private func changes(
    of sequence: [VHDXLogBytes.Entry]
  ) throws(DiskError) -> [PatchedStorage.Patch] {
    guard sequence.reduce(0, { $0 + $1.descriptors }) <= Self.mostChanges else {
      throw DiskError(
        .unsupported, "its log holds more than \(Self.mostChanges) changes", path: source.path,
        offset: place.bytes)
    }
    var changes: [PatchedStorage.Patch] = []
    for entry in sequence { changes += try bytes.changes(of: entry, keepingData: true) ?? [] }
    return changes
  }
}
