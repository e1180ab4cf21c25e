internal import Decoders
internal import Digests
internal import DiskCore
internal import Synchronization

/// The entry points of one stream, kept in the user's cache folder for the next time.
///
/// What is read from there is not trusted: it must be whole, of this version, of this very file, and
/// make sense; otherwise it is as if it were not there.
final class KeptIndex: Sendable {
  /// Rises with each change of what is written.
  private static let version: UInt32 = 1
  private static let magic = Array("PLTRIDX\n".utf8)
  private static let headerSize = 8 + 4 + 32 + 8 + 8 + 8
  /// Of an entry point, without its window.
  private static let pointSize = 8 + 8 + 8 + 4
  /// Larger ones are not read and not written, in bytes: windows and their entry points.
  private static let largest = EntryPoints.mostWindowBytes + 32 * EntryPoints.mostPoints
  /// Saved again when there are twice as many entry points, and these many at least.
  private static let worthSaving = 16

  private let folder: CacheFolder
  private let key: [UInt8]
  private let saved = Mutex((count: 0, end: false))

  /// For the stream that is in `source`'s stored file, in these containers, outermost first; nil where the folder cannot be had, or the file cannot be known again.
  init?(of source: any Storage, as containers: [String], in folder: String) {
    guard let folder = CacheFolder(folder), let key = try? Self.key(of: source, containers) else {
      return nil
    }
    self.folder = folder
    self.key = key
  }

  /// A digest of what the stored file is known by, wherever it lies: its size, its time and samples of
  /// it; nothing is decoded for that.
  private static func key(
    of source: any Storage, _ containers: [String]
  ) throws(DiskError) -> [UInt8] {
    var bytes = Array(containers.joined(separator: " in ").utf8) + [0]
    for part in source.parts {
      let record = try FileIdentityRecord.of(part)
      bytes += littleEndian(record.storedSize)
      bytes += littleEndian(UInt64(bitPattern: record.modified.seconds))
      bytes += littleEndian(record.modified.nanoseconds)
      for sample in record.samples { bytes += sample.digest }
    }
    return try Digest.of(bytes, .sha256)
  }

  private var name: String { key.prefix(16).map { hexadecimal($0) }.joined() + ".index" }

  /// - Parameter spacing: as `EntryPoints.leastSpacing`.
  func load(spacing: UInt64) -> EntryPoints? {
    guard let bytes = folder.read(name, atMost: Self.largest),
      let points = try? Self.points(in: ByteReader(bytes), key: key, spacing: spacing)
    else { return nil }
    saved.withLock { $0 = (points.count, points.end != nil) }
    return points
  }

  /// Writes what is known where that is worth it.
  func save(_ points: EntryPoints) {
    let count = points.count
    let isWorthIt = saved.withLock { saved in
      guard (points.end != nil && !saved.end) || count >= max(Self.worthSaving, 2 * saved.count)
      else { return false }
      saved = (count, points.end != nil)
      return true
    }
    // A short stream is decoded faster than its index is found.
    guard isWorthIt, points.end.map({ $0 > OpenedContainer.measuredAtOnce }) ?? true else { return }
    write(points)
  }

  private func write(_ points: EntryPoints) {
    let all = points.all
    let count = all.reduce(Self.headerSize + 4) { $0 + Self.pointSize + $1.window.packed.count }
    folder.write(name, count: count) { put in
      var header = Self.magic + Self.littleEndian(Self.version) + key
      header += Self.littleEndian(points.end ?? .max)
      header += Self.littleEndian(points.trailing)
      header += Self.littleEndian(UInt64(all.count))
      put(header)
      var checksum = CRC32.of(header)
      for point in all {
        var bytes = Self.littleEndian(point.decoded)
        bytes += Self.littleEndian(point.stored)
        bytes += Self.littleEndian(point.detail)
        bytes += Self.littleEndian(UInt32(point.window.packed.count))
        bytes += point.window.packed
        put(bytes)
        checksum = CRC32.of(unsafe bytes.span.bytes, after: checksum)
      }
      put(Self.littleEndian(checksum))
    }
  }

  private static func points(
    in reader: ByteReader, key: [UInt8], spacing: UInt64
  ) throws(DiskError) -> EntryPoints? {
    let end = reader.count - 4
    guard end >= headerSize, reader.matches(magic, at: 0), try reader.u32(at: 8) == version,
      reader.matches(key, at: 12),
      try reader.u32(at: end) == CRC32.of(unsafe reader.bytes.span.bytes.extracting(0..<end))
    else { return nil }
    let size = try reader.u64(at: 44)
    let trailing = try reader.u64(at: 52)
    let count = try reader.u64(at: 60)
    guard count > 0, count <= UInt64(EntryPoints.mostPoints) else { return nil }
    var points: [EntryPoint] = []
    var place = headerSize
    for _ in 0..<count {
      let length = Int(try reader.u32(at: place + 24))
      let point = EntryPoint(
        decoded: try reader.u64(at: place), stored: try reader.u64(at: place + 8),
        detail: try reader.u64(at: place + 16),
        window: PackedBytes(packed: Array(try reader.slice(at: place + pointSize, count: length))))
      guard
        points.last.map({ $0.decoded < point.decoded && $0.stored < point.stored })
          ?? (point.decoded == 0), point.decoded <= size,
        point.decoded <= Limits.largestDisk
      else { return nil }
      points.append(point)
      place += pointSize + length
    }
    guard place == end, size == .max || size <= Limits.largestDisk else { return nil }
    return EntryPoints(
      points, end: size == .max ? nil : size, trailing: trailing, spacing: spacing)
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }
}
