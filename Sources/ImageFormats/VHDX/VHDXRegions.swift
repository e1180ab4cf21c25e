internal import DiskCore

/// Where the block table and the metadata are in the file ([MS-VHDX] 2.2.3).
struct VHDXRegions: Sendable {
  private static let places = [FileOffset(192 << 10), FileOffset(256 << 10)]
  private static let byteCount = 64 << 10
  static let mostEntries: UInt32 = 2047

  private static let blockTableGUID = "2dc27766-f623-4200-9d64-115e9bfd4a08"
  private static let metadataGUID = "8b7ca206-4790-4b9a-b8fe-575f050f886e"

  let blockTable: Range<UInt64>
  let metadata: Range<UInt64>
  /// Those two, all others and the log, in order.
  let all: [Range<UInt64>]

  /// Of both copies of the table.
  static func checksums(of source: any Storage) -> [RecordedChecksum] {
    zip(places, ["first", "second"]).map { place, name in
      RecordedChecksum(
        "region table CRC-32C", name: name, of: source,
        at: place.bytes..<place.bytes + UInt64(byteCount), field: 4, fieldIs: [0, 0, 0, 0], .little,
        by: { CRC32C() })
    }
  }

  /// - Parameter notes: gains a line where the first copy of the table is damaged.
  /// - Throws: `malformed` where both copies are damaged, or regions are missing or on top of each
  ///   other; `unsupported` for a region that has to be understood and is not known.
  static func read(
    _ source: any Storage, log: Range<UInt64>, _ notes: inout [String]
  ) throws(DiskError) -> VHDXRegions {
    var failure: DiskError? = nil
    for place in places {
      let reader: ByteReader
      do throws(DiskError) {
        reader = try checkedTable(source, at: place)
      } catch  where error.kind == .inputOutput {
        throw error
      } catch {
        failure = failure ?? error
        continue
      }
      if failure != nil {
        notes.append("the region table is damaged; its second copy was used")
      }
      return try VHDXRegions(reader, log: log)
    }
    throw failure
      ?? DiskError(
        .malformed, "has no region table", path: source.path, offset: places[0].bytes)
  }

  private static func checkedTable(
    _ source: any Storage, at place: FileOffset
  ) throws(DiskError) -> ByteReader {
    let reader = try source.reader(at: place, count: byteCount)
    guard reader.matches("regi", at: 0) else {
      throw DiskError(
        .malformed, "no VHDX region table here", path: source.path, offset: place.bytes)
    }
    guard try reader.u32(at: 4) == CRC32C.of(reader.bytes, fieldAt: 4) else {
      throw DiskError(
        .malformed, "the checksum of the region table is wrong", path: source.path,
        offset: place.bytes + 4)
    }
    let count = try reader.u32(at: 8)
    guard count <= mostEntries else {
      throw DiskError(
        .malformed, "a region table of \(count) entries; there can be \(mostEntries)",
        path: source.path, offset: place.bytes + 8)
    }
    return reader
  }

  private init(_ reader: ByteReader, log: Range<UInt64>) throws(DiskError) {
    var found: [String: Range<UInt64>] = [:]
    var all = log.isEmpty ? [] : [log]
    for index in 0..<Int(try reader.u32(at: 8)) {
      let entry = 16 + 32 * index
      let place = reader.base + UInt64(entry)
      let guid = try reader.guid(at: entry)
      let start = try reader.u64(at: entry + 16)
      let length = UInt64(try reader.u32(at: entry + 24))
      let (end, overflow) = start.addingReportingOverflow(length)
      guard !overflow, start >= VHDXHeader.unit, start % VHDXHeader.unit == 0,
        length % VHDXHeader.unit == 0
      else {
        throw DiskError(
          .malformed,
          "a region of \(length) bytes at \(start); both must be multiples of 1 MiB behind the first",
          path: reader.path, offset: place + 16)
      }
      guard found.updateValue(start..<end, forKey: guid) == nil else {
        throw DiskError(
          .malformed, "the region \(guid) is there twice", path: reader.path, offset: place)
      }
      if try reader.u32(at: entry + 28) & 1 == 1, guid != Self.blockTableGUID,
        guid != Self.metadataGUID
      {
        throw DiskError(
          .unsupported, "has a region \(guid) that is required to read it and is not known",
          path: reader.path, offset: place)
      }
      if length > 0 { all.append(start..<end) }
    }
    all.sort { $0.lowerBound < $1.lowerBound }
    for (earlier, later) in zip(all, all.dropFirst())
    where earlier.upperBound > later.lowerBound {
      throw DiskError(
        .malformed, "two regions, or a region and the log, overlap", path: reader.path,
        offset: later.lowerBound)
    }
    guard let blockTable = found[Self.blockTableGUID], let metadata = found[Self.metadataGUID]
    else {
      throw DiskError(
        .malformed, "the region table names no block table or no metadata", path: reader.path,
        offset: reader.base)
    }
    self.blockTable = blockTable
    self.metadata = metadata
    self.all = all
  }
}
