internal import Decoders
internal import DiskCore

/// Where the blocks of an xz file are, by the indexes at the end of its streams, read from the last one
/// back to the first.
struct XZIndex {
  /// How far a detail's check is from its unpadded size.
  static let checkShift: UInt64 = 59
  /// More blocks in a file are not indexed: 40 bytes of memory each.
  static let mostBlocks = 1 << 20
  /// More streams in a file are not looked at, each of which takes three reads.
  static let mostStreams = 1 << 14
  /// More padding behind a stream is not gone through, in bytes.
  static let mostPadding: UInt64 = 16 << 20
  private static let headerSize: UInt64 = 12

  /// Blocks that hold anything; the detail is the unpadded size and, above it, the check's number.
  let points: [EntryPoint]
  /// In decoded bytes.
  let size: UInt64
  let streams: Int
  private let checks: Set<UInt8>

  private struct Record {
    let unpadded: UInt64
    let size: UInt64
    var padded: UInt64 { (unpadded + 3) & ~3 }
  }

  /// - Throws: `malformed`, `truncated` or `unsupported` where an index is not to be had.
  init(of source: any Storage) throws(DiskError) {
    var end = source.size
    var streams: [(start: UInt64, check: UInt8, records: [Record])] = []
    var blocks = 0
    while end > 0 {
      end = try Self.withoutPadding(source, end)
      guard end > 0 else { break }
      guard streams.count < Self.mostStreams else {
        throw DiskError(
          .unsupported, "there are more than \(Self.mostStreams) streams", path: source.path)
      }
      let stream = try Self.stream(in: source, endingAt: end, most: Self.mostBlocks - blocks)
      blocks += stream.records.count
      end = stream.start
      streams.append(stream)
    }
    var points: [EntryPoint] = []
    var decoded: UInt64 = 0
    for stream in streams.reversed() {
      var place = stream.start + Self.headerSize
      for record in stream.records {
        if record.size > 0 {
          points.append(
            EntryPoint(
              decoded: decoded, stored: place,
              detail: record.unpadded | UInt64(stream.check) << Self.checkShift))
        }
        let sum = decoded.addingReportingOverflow(record.size)
        guard !sum.overflow, sum.partialValue <= Limits.largestDisk else {
          throw DiskError(
            .malformed, "the blocks hold more than \(Limits.largestDisk) bytes", path: source.path)
        }
        decoded = sum.partialValue
        place += record.padded
      }
    }
    self.points = points.isEmpty ? [EntryPoint(decoded: 0, stored: 0)] : points
    size = decoded
    self.streams = streams.count
    checks = Set(streams.map(\.check))
  }

  /// As `xz --list` calls them.
  var checkNames: String {
    checks.sorted().map(Self.name(ofCheck:)).joined(separator: " ")
  }

  static func name(ofCheck check: UInt8) -> String {
    switch check {
    case 0: "none"
    case 1: "CRC32"
    case 4: "CRC64"
    case 10: "SHA-256"
    default: "unknown \(check)"
    }
  }

  /// Zeros behind a stream, a multiple of four of them.
  private static func withoutPadding(
    _ source: any Storage, _ end: UInt64
  ) throws(DiskError) -> UInt64 {
    let padded = end
    var end = end
    while end >= 4 {
      guard padded - end <= mostPadding else {
        throw DiskError(
          .unsupported, "more than \(mostPadding) zeros are behind the xz data", path: source.path,
          offset: end)
      }
      let count = min(end, 64 << 10)
      let bytes = try source.bytes(at: FileOffset(end - count), count: Int(count))
      let zeros = UInt64(bytes.reversed().prefix { $0 == 0 }.count)
      if zeros < count { return end - zeros / 4 * 4 }
      end -= count
    }
    return end
  }

  /// The stream that ends at `end`.
  private static func stream(
    in source: any Storage, endingAt end: UInt64, most: Int
  ) throws(DiskError) -> (start: UInt64, check: UInt8, records: [Record]) {
    func malformed(_ message: String, _ place: UInt64) -> DiskError {
      DiskError(.malformed, message, path: source.path, offset: place)
    }
    guard end >= 2 * headerSize + 8 else {
      throw malformed("the file does not end as an xz file does", end)
    }
    let place = end - headerSize
    let footer = try source.reader(at: FileOffset(place), count: Int(headerSize))
    guard footer.matches("YZ", at: 10),
      try footer.u32(at: 0) == CRC32.of(Array(footer.bytes[4..<10]))
    else { throw malformed("the file does not end as an xz file does", place) }
    let indexSize = (UInt64(try footer.u32(at: 4)) + 1) * 4
    guard indexSize <= place - headerSize else {
      throw malformed("the index is larger than the file", place)
    }
    guard indexSize <= UInt64(Limits.largestMetadataRead) else {
      throw DiskError(
        .unsupported, "an index of \(indexSize) bytes", path: source.path, offset: place)
    }
    let index = try source.reader(at: FileOffset(place - indexSize), count: Int(indexSize))
    let records = try records(in: index, most: most)
    var blocks: UInt64 = 0
    for record in records {
      let sum = blocks.addingReportingOverflow(record.padded)
      guard !sum.overflow, sum.partialValue <= place else {
        throw malformed("the blocks are larger than the file", place - indexSize)
      }
      blocks = sum.partialValue
    }
    guard blocks <= place - indexSize - headerSize else {
      throw malformed("the blocks are larger than the file", place - indexSize)
    }
    let start = place - indexSize - blocks - headerSize
    let header = try source.reader(at: FileOffset(start), count: Int(headerSize))
    guard header.matches(XZContainer.magic, at: 0),
      try header.u32(at: 8) == CRC32.of(Array(header.bytes[6..<8]))
    else { throw malformed("no xz stream begins where the index says", start) }
    let flags = try header.slice(at: 6, count: 2)
    guard try flags.elementsEqual(footer.slice(at: 8, count: 2)), flags.first == 0,
      let check = flags.last, check < 16
    else { throw malformed("the flags at the stream's start and end are not those of xz", start) }
    return (start, check, records)
  }

  /// Section 4: a zero, the number of records, the records, padding, a checksum.
  private static func records(in index: ByteReader, most: Int) throws(DiskError) -> [Record] {
    func malformed(_ message: String) -> DiskError {
      DiskError(.malformed, message, path: index.path, offset: index.base)
    }
    let end = index.count - 4
    guard try index.u8(at: 0) == 0,
      try index.u32(at: end) == CRC32.of(Array(index.bytes[..<end]))
    else { throw malformed("the index is damaged") }
    var place = 1
    /// Section 1.2: seven bits a byte, the lowest first, at most nine bytes.
    func number() throws(DiskError) -> UInt64 {
      var value: UInt64 = 0
      for byte in 0..<9 {
        guard place < end else { break }
        let part = index.bytes[place]
        place += 1
        value |= UInt64(part & 0x7f) << UInt64(7 * byte)
        if part & 0x80 == 0 { return value }
      }
      throw malformed("the index is damaged")
    }
    let count = try number()
    guard count <= UInt64(most) else {
      throw DiskError(
        .unsupported, "there are more than \(mostBlocks) blocks", path: index.path)
    }
    var records: [Record] = []
    for _ in 0..<count {
      let record = Record(unpadded: try number(), size: try number())
      guard record.unpadded >= 5, record.unpadded < 1 << checkShift else {
        throw malformed("the index has a block of \(record.unpadded) bytes")
      }
      records.append(record)
    }
    guard end - place < 4, index.bytes[place..<end].allSatisfy({ $0 == 0 }) else {
      throw malformed("the index is damaged")
    }
    return records
  }
}
