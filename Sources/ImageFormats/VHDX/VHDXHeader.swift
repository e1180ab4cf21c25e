internal import DiskCore

/// Which state of a VHDX file is the current one, and where its log is ([MS-VHDX] 2.2.2).
struct VHDXHeader: Sendable {
  static let places = [FileOffset(64 << 10), FileOffset(128 << 10)]
  static let byteCount = 4096
  /// Everything in the file but the header section is placed in these units, and behind the first.
  static let unit: UInt64 = 1 << 20

  let sequence: UInt64
  /// Another one whenever what the disk holds has changed.
  let dataWriteGUID: String
  /// Nil where there is nothing in the log.
  let logGUID: String?
  let logVersion: UInt16
  /// Where the log is in the file; empty where there is none.
  let log: Range<UInt64>

  /// - Throws: `malformed` for what is no header or is damaged, `unsupported` for another version.
  private init(_ reader: ByteReader) throws(DiskError) {
    guard reader.matches("head", at: 0) else {
      throw DiskError(
        .malformed, "no VHDX header here", path: reader.path, offset: reader.base)
    }
    guard try reader.u32(at: 4) == CRC32C.of(reader.bytes, fieldAt: 4) else {
      throw DiskError(
        .malformed, "the checksum of the VHDX header is wrong", path: reader.path,
        offset: reader.base + 4)
    }
    let version = try reader.u16(at: 66)
    guard version == 1 else {
      throw DiskError(
        .unsupported, "a VHDX of version \(version); only 1 is specified", path: reader.path,
        offset: reader.base + 66)
    }
    sequence = try reader.u64(at: 8)
    dataWriteGUID = try reader.guid(at: 32)
    let isClean = try reader.slice(at: 48, count: 16).allSatisfy { $0 == 0 }
    logGUID = isClean ? nil : try reader.guid(at: 48)
    logVersion = try reader.u16(at: 64)
    let length = UInt64(try reader.u32(at: 68))
    let start = try reader.u64(at: 72)
    let (end, overflow) = start.addingReportingOverflow(length)
    guard length == 0 || (start >= Self.unit && !overflow), start % Self.unit == 0,
      length % Self.unit == 0
    else {
      throw DiskError(
        .malformed,
        "a log of \(length) bytes at \(start); both must be multiples of 1 MiB behind the first",
        path: reader.path, offset: reader.base + 68)
    }
    log = length == 0 ? 0..<0 : start..<end
  }

  /// Of both headers, whichever is the current one.
  static func checksums(of source: any Storage) -> [RecordedChecksum] {
    zip(places, ["first", "second"]).map { place, name in
      RecordedChecksum(
        "header CRC-32C", name: name, of: source, at: place.bytes..<place.bytes + UInt64(byteCount),
        field: 4, fieldIs: [0, 0, 0, 0], .little, by: { CRC32C() })
    }
  }

  /// The valid header with the greater sequence number.
  ///
  /// - Parameter notes: gains a line where one of the two is damaged.
  /// - Throws: `malformed` where neither is valid or neither is the later one.
  static func current(
    of source: any Storage, _ notes: inout [String]
  ) throws(DiskError) -> VHDXHeader {
    var valid: [(header: VHDXHeader, bytes: [UInt8])] = []
    var failure: DiskError? = nil
    for place in places {
      do throws(DiskError) {
        let reader = try source.reader(at: place, count: byteCount)
        valid.append((try VHDXHeader(reader), reader.bytes))
      } catch  where error.kind == .inputOutput {
        throw error
      } catch {
        failure = failure ?? error
      }
    }
    if valid.count == 2 {
      let (first, second) = (valid[0], valid[1])
      guard first.header.sequence != second.header.sequence || first.bytes == second.bytes else {
        throw DiskError(
          .malformed, "the two VHDX headers differ, but neither is the later one",
          path: source.path, offset: places[0].bytes + 8)
      }
      return first.header.sequence >= second.header.sequence ? first.header : second.header
    }
    if let failure, let only = valid.first {
      notes.append(
        "one of the two headers is missing or damaged (\(failure.message)); the other was used")
      return only.header
    }
    throw failure
      ?? DiskError(
        .malformed, "has no valid VHDX header", path: source.path, offset: places[0].bytes)
  }
}
