internal import Digests
internal import DiskCore
internal import ImageFormats

/// Platter's own header extension (docs/OVERLAYS.md, "The private extension").
struct OverlayExtension: Sendable {
  static let type = PlatterExtension.type
  static let version = PlatterExtension.version
  /// Where in the extension's data the word of state stands.
  static let stateOffset = 8
  /// The state's bit 0: the file was opened for writing and not closed.
  static let openMark: UInt64 = 1
  /// Bit 1: the changes are being put into the base, which is not what it was until that is done.
  static let commitMark: UInt64 = 2
  /// The part before the two places for records.
  static let fixedBytes = 48
  private static let recordBytes = 40
  private static let sampleBytes = 48
  static let mostFiles = 1024
  static let mostSamples = 64

  var state: UInt64
  /// The disk's size in bytes, not rounded to sectors.
  var exactSize: UInt64
  var files: [FileIdentityRecord]
  /// How many bytes each of the two places for records has. One is in use; the other takes new
  /// records before the header's first sector names them.
  var roomForRecords: Int
  /// Whether the second place is the one in use.
  var usesSecond = false

  /// - Parameter roomForRecords: at least; they have what the records need.
  init(state: UInt64, exactSize: UInt64, files: [FileIdentityRecord], roomForRecords: Int) {
    self.state = state
    self.exactSize = exactSize
    self.files = files
    self.roomForRecords = roomForRecords
    self.roomForRecords = max(roomForRecords, records.count)
  }

  /// - Throws: `unsupported` for a later layout, `malformed` or `truncated` for a damaged one.
  init(_ reader: ByteReader) throws(DiskError) {
    let version = try reader.u32(at: 0, .big)
    guard version == Self.version else {
      throw DiskError(
        .unsupported, "was made by a later Platter (overlay layout \(version))",
        path: reader.path, offset: reader.base)
    }
    let count = try reader.u32(at: 4, .big)
    guard count <= UInt32(Self.mostFiles) else {
      throw DiskError(
        .malformed, "\(count) files of a base; at most \(Self.mostFiles) are recorded",
        path: reader.path, offset: reader.base + 4)
    }
    state = try reader.u64(at: Self.stateOffset, .big)
    exactSize = try reader.u64(at: 16, .big)
    files = []
    roomForRecords = (reader.count - min(reader.count, Self.fixedBytes)) / 2
    var place = Int(try reader.u32(at: 24, .big))
    usesSecond = place != Self.fixedBytes
    guard [Self.fixedBytes, Self.fixedBytes + roomForRecords].contains(place) else {
      throw DiskError(
        .malformed,
        "the records of the base's files lie at \(place), where there is no place for them",
        path: reader.path, offset: reader.base + 24)
    }
    for _ in 0..<count {
      let (record, length) = try Self.record(reader, at: place)
      files.append(record)
      place += length
    }
  }

  private static func record(
    _ reader: ByteReader, at start: Int
  ) throws(DiskError) -> (FileIdentityRecord, Int) {
    let length = Int(try reader.u32(at: start, .big))
    let pathCount = Int(try reader.u16(at: start + 4, .big))
    let identifierCount = Int(try reader.u16(at: start + 6, .big))
    let sampleCount = Int(try reader.u32(at: start + 28, .big))
    let text = recordBytes + min(sampleCount, mostSamples) * sampleBytes
    guard sampleCount <= mostSamples, length >= text + pathCount + identifierCount,
      length.isMultiple(of: 8)
    else {
      throw DiskError(
        .malformed, "a record of \(length) bytes about a file of the base does not hold its parts",
        path: reader.path, offset: reader.base + UInt64(start))
    }
    var samples: [FileIdentityRecord.Sample] = []
    for index in 0..<sampleCount {
      let place = start + recordBytes + index * sampleBytes
      samples.append(
        FileIdentityRecord.Sample(
          offset: try reader.u64(at: place, .big), length: try reader.u32(at: place + 8, .big),
          digest: Array(try reader.slice(at: place + 16, count: 32))))
    }
    let path = try reader.slice(at: start + text, count: pathCount)
    let identifier = try reader.slice(at: start + text + pathCount, count: identifierCount)
    let record = FileIdentityRecord(
      path: String(decoding: path, as: UTF8.self), storedSize: try reader.u64(at: start + 8, .big),
      modified: (
        Int64(bitPattern: try reader.u64(at: start + 16, .big)),
        try reader.u32(at: start + 24, .big)
      ), identifier: String(decoding: identifier, as: UTF8.self), samples: samples)
    return (record, length)
  }

  /// Without the records.
  var fixed: [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendBig(Self.version)
    bytes.appendBig(UInt32(files.count))
    bytes.appendBig(state)
    bytes.appendBig(exactSize)
    bytes.appendBig(UInt32(placeOfRecords))
    return bytes + [UInt8](repeating: 0, count: Self.fixedBytes - bytes.count)
  }

  /// Where in the extension's data the records are.
  var placeOfRecords: Int { Self.fixedBytes + (usesSecond ? roomForRecords : 0) }

  var records: [UInt8] { files.flatMap { Self.bytes(of: $0) } }

  var bytes: [UInt8] {
    var bytes = fixed + [UInt8](repeating: 0, count: 2 * roomForRecords)
    let records = records
    bytes.replaceSubrange(placeOfRecords..<placeOfRecords + records.count, with: records)
    return bytes
  }

  private static func bytes(of file: FileIdentityRecord) -> [UInt8] {
    let path = Array(file.path.utf8.prefix(Int(UInt16.max)))
    let identifier = Array(file.identifier.utf8.prefix(Int(UInt16.max)))
    let samples = file.samples.prefix(mostSamples)
    var bytes: [UInt8] = []
    bytes.appendBig(UInt32(0))
    bytes.appendBig(UInt16(path.count))
    bytes.appendBig(UInt16(identifier.count))
    bytes.appendBig(file.storedSize)
    bytes.appendBig(UInt64(bitPattern: file.modified.seconds))
    bytes.appendBig(file.modified.nanoseconds)
    bytes.appendBig(UInt32(samples.count))
    bytes.appendBig(UInt64(0))
    for sample in samples {
      bytes.appendBig(sample.offset)
      bytes.appendBig(sample.length)
      bytes.appendBig(UInt32(0))
      bytes += (sample.digest + [UInt8](repeating: 0, count: 32)).prefix(32)
    }
    bytes += path + identifier
    bytes.padToEight()
    bytes.putBig(UInt32(bytes.count), at: 0)
    return bytes
  }
}
