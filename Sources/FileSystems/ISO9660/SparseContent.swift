internal import DiskCore
internal import Synchronization

/// A file of which only parts are stored: tables in its data say of each part that it is zeros, where it is
/// stored, or which table says more of it (RRIP 1.12, 4.1.7.1).
final class SparseContent: FileContent {
  /// One of a table's 256 entries, which have 32 bits in both byte orders.
  private struct Entry {
    static let count = 256
    static let length = 8

    let number: UInt32

    var isZero: Bool { number & 0x8000_0000 != 0 }
    var isTable: Bool { number & 0x4000_0000 != 0 }
    /// Of a table in units of 2,048 bytes, of stored bytes in units of 256, from the file's start.
    var unit: UInt32 { number & 0x00FF_FFFF }
  }

  private static let tableUnit: UInt64 = 2048
  private static let dataUnit: UInt64 = 256
  /// The first 2,048 bytes are not used.
  private static let firstTable: UInt32 = 1
  /// Of 1 KiB each.
  private static let keptTables = 256
  /// That are read at all. A disc that has more is made up: they would tell of 16 GiB of which no 64 KiB
  /// are in one run.
  private static let mostTables = 1 << 18

  let size: UInt64
  private let stored: ISOContent
  private let depth: Int
  private let path: String?
  private let tables: LoadCache<UInt32, [Entry]>
  /// Which part of the file each table that was read is for. One that is for two parts would make of a few
  /// tables a file without end.
  private let parts = Mutex<[UInt32: UInt64]>([:])

  /// - Throws: `malformed` where the tables cannot be that deep, or not reach to the file's end.
  init(_ stored: ISOContent, _ entry: SparseFile, _ volume: Volume) throws(DiskError) {
    size = entry.size
    depth = entry.depth
    path = volume.storage.path
    self.stored = stored
    guard SparseFile.depths.contains(depth),
      depth == SparseFile.depths.upperBound || size <= 1 << (8 * UInt64(depth + 1))
    else {
      throw DiskError(
        .malformed, "a sparse file of \(size) bytes with tables of depth \(depth)", path: path,
        offset: entry.place)
    }
    let storage = WindowStorage(
      try Disk(ContentLayer(stored, of: volume), within: volume.window.disk).whole)
    tables = LoadCache(capacity: Self.keptTables) { (unit) throws(DiskError) in
      let reader = try storage.reader(
        at: FileOffset(UInt64(unit) * Self.tableUnit), count: Entry.count * Entry.length)
      let numbers: [UInt32] = try reader.integers(at: 0, count: 2 * Entry.count, .little)
      return stride(from: 0, to: numbers.count, by: 2).map { Entry(number: numbers[$0]) }
    }
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    var unit = Self.firstTable
    var start: UInt64 = 0
    var depth = self.depth
    while true {
      // Of what one entry is for, in bytes.
      let span: UInt64 = 1 << (8 * UInt64(depth))
      let entries: [Entry]
      do throws(DiskError) {
        entries = try table(unit, depth, from: start)
      } catch {
        return Extent(
          .unreadable(error), length: end(of: UInt64(Entry.count), span, from: start) - offset.bytes
        )
      }
      let index = Int((offset.bytes - start) / span)
      let entry = entries[index]
      if !entry.isZero, entry.isTable, depth > 1 {
        (unit, start, depth) = (entry.unit, start + UInt64(index) * span, depth - 1)
        continue
      }
      let run = UInt64(index) + Self.run(entries[index...], span)
      let length = end(of: run, span, from: start) - offset.bytes
      if entry.isZero { return Extent(.zero, length: length) }
      guard !entry.isTable else {
        return Extent(
          .unreadable(failure(.malformed, "a table of a sparse file where stored bytes must be")),
          length: length)
      }
      let place = UInt64(entry.unit) * Self.dataUnit + (offset.bytes - start) % span
      guard place < stored.size else {
        return Extent(
          .unreadable(
            failure(
              .truncated,
              "byte \(offset.bytes) of a sparse file at byte \(place) of \(stored.size) stored")),
          length: length)
      }
      let found = try stored.extent(at: DiskOffset(place), limit: min(limit, length))
      return Extent(found.place, length: min(found.length, length))
    }
  }

  /// Where the last of `count` entries ends, the first of which starts at `start`, or the file.
  private func end(of count: UInt64, _ span: UInt64, from start: UInt64) -> UInt64 {
    (size - start) / span < count ? size : start + count * span
  }

  /// How many entries from the first one on are zeros as it is, or stored one behind the other; at least 1.
  private static func run(_ entries: ArraySlice<Entry>, _ span: UInt64) -> UInt64 {
    var count: UInt64 = 1
    guard let first = entries.first, first.isZero || !first.isTable else { return count }
    for entry in entries.dropFirst() {
      let follows =
        first.isZero
        ? entry.isZero
        : !entry.isZero && !entry.isTable
          && UInt64(entry.unit) == UInt64(first.unit) + count * (span / dataUnit)
      guard follows else { break }
      count += 1
    }
    return count
  }

  /// The table at `unit`, which is for the part of the file from `start` on.
  private func table(
    _ unit: UInt32, _ depth: Int, from start: UInt64
  ) throws(DiskError) -> [Entry] {
    // A part starts at a multiple of what its table is for: 2¹⁶ bytes at least.
    let part = start | UInt64(depth)
    let (known, count) = parts.withLock { parts in
      if parts[unit] == nil, parts.count < Self.mostTables { parts[unit] = part }
      return (parts[unit], parts.count)
    }
    guard known == part else {
      throw failure(
        .malformed,
        known == nil
          ? "a sparse file of more than \(count) tables"
          : "a sparse file's table at its byte \(UInt64(unit) * Self.tableUnit) is for two parts of it"
      )
    }
    return try tables.value(of: unit)
  }

  private func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
    DiskError(kind, message, path: path)
  }
}
