internal import DiskCore

/// The two letters that an entry of a System Use Area begins with, as one number, the first letter high:
/// they are compared for each entry of each file of a disc.
enum SystemUseSignature: UInt16 {
  // SUSP 1.12, 5.
  /// CE
  case continuation = 0x4345
  /// ST
  case terminator = 0x5354
  /// ER
  case extensions = 0x4552
  // RRIP 1.12, 4.1; `RR` is in 1.09.
  /// RR
  case rockRidge = 0x5252
  /// PX
  case attributes = 0x5058
  /// PN
  case device = 0x504E
  /// SL
  case link = 0x534C
  /// NM
  case name = 0x4E4D
  /// CL
  case child = 0x434C
  /// RE
  case relocated = 0x5245
  /// TF
  case times = 0x5446
  /// SF
  case sparse = 0x5346
  // zisofs and zisofs2.
  /// ZF
  case zisofs = 0x5A46
  /// Z2
  case zisofs2 = 0x5A32
  // Arbitrary Attribute Interchange Protocol 2.0.
  /// AL
  case arbitrary = 0x414C
}

/// One entry of a System Use Area (SUSP 1.12, 4).
struct SystemUseEntry {
  /// Nil for what is not read.
  let signature: SystemUseSignature?
  let version: UInt8
  /// All of it; the first four bytes are signature, length and version.
  let reader: ByteReader

  var length: Int { reader.count }

  /// A number in both byte orders.
  func number(at offset: Int) throws(DiskError) -> UInt32 { try reader.u32(at: offset) }

  /// What is behind the first `offset` bytes.
  func rest(from offset: Int) throws(DiskError) -> ArraySlice<UInt8> {
    try reader.slice(at: offset, count: length - offset)
  }
}

/// Walks over the System Use Area of a directory record and the areas that it goes on in (SUSP 1.12, 5.1).
struct SystemUseArea {
  /// How much of what a record's entries go on in is looked at.
  struct Bounds {
    let continuations: Int
    /// In bytes, all areas of one record together.
    let bytes: Int
    let entries: Int

    /// libisofs makes an area of each 2,048 bytes, and an extended attribute can have 64 KiB.
    static let all = Bounds(continuations: 512, bytes: 1 << 20, entries: .max)
    /// For names: a million records can have the same area, which is looked at again for each. A link's
    /// longest target, which can stand before the name, has 17 entries and 5 KiB.
    static let listing = Bounds(continuations: 8, bytes: 16 << 10, entries: 64)
  }

  let volume: ISOVolume
  /// Bytes before the entries, in every record but the root's of itself (SUSP 1.12, 5.3).
  let skippedBytes: Int

  /// Calls `visit` for each entry of `record`.
  ///
  /// - Parameter visitedArea: called between the areas; false for enough.
  /// - Throws: `malformed` where the entries are damaged, after those before the damage were visited.
  func forEachEntry(
    of record: ISODirectoryRecord, skipping skipped: Int? = nil, within bounds: Bounds = .all,
    _ visit: (SystemUseEntry) throws(DiskError) -> Void, goOn: () -> Bool = { true }
  ) throws(DiskError) {
    let start = record.systemUseStart + (skipped ?? skippedBytes)
    guard start < record.length else { return }
    var entries = bounds.entries
    var continuation = try visitArea(
      try record.reader.part(at: start, count: record.length - start), &entries, visit)
    var seen: Set<UInt64> = []
    var bytes = 0
    while let area = continuation, goOn() {
      guard seen.insert(area.position).inserted else {
        throw volume.failure(
          .malformed, "a continuation area of Rock Ridge that was there before: a loop", area.place)
      }
      bytes += area.length
      guard seen.count <= bounds.continuations, bytes <= bounds.bytes else {
        throw volume.failure(
          .malformed,
          "more than \(bounds.continuations) continuation areas or \(bounds.bytes) bytes of them",
          area.place)
      }
      continuation = try visitArea(
        try volume.reader(at: area.position, count: area.length), &entries, visit)
    }
  }

  private struct Continuation {
    let position: UInt64
    let length: Int
    /// Of the entry that says so.
    let place: UInt64
  }

  /// - Parameter left: how many more entries are looked at.
  private func visitArea(
    _ area: ByteReader, _ left: inout Int, _ visit: (SystemUseEntry) throws(DiskError) -> Void
  ) throws(DiskError) -> Continuation? {
    var place = 0
    var continuation: Continuation? = nil
    // Less than an entry's head is padding, and so are zeros.
    while area.count - place >= 4, try area.u16(at: place) != 0 {
      guard left > 0 else { return nil }
      left -= 1
      let length = Int(try area.u8(at: place + 2))
      guard length >= 4, length <= area.count - place else {
        throw volume.failure(
          .malformed,
          "a System Use entry of \(length) bytes where 4 to \(area.count - place) can be",
          area.base + UInt64(place))
      }
      let entry = SystemUseEntry(
        signature: SystemUseSignature(rawValue: try area.u16(at: place, .big)),
        version: try area.u8(at: place + 3), reader: try area.part(at: place, count: length))
      switch entry.signature {
      case .terminator: return continuation
      case .continuation: continuation = try self.continuation(entry)
      default: try visit(entry)
      }
      place += length
    }
    return continuation
  }

  /// SUSP 1.12, 5.1.
  private func continuation(_ entry: SystemUseEntry) throws(DiskError) -> Continuation {
    let length = try entry.number(at: 20)
    guard length <= UInt32(Bounds.all.bytes) else {
      throw volume.failure(
        .malformed, "a continuation area of \(length) bytes; at most \(Bounds.all.bytes) are read",
        entry.reader.base)
    }
    return Continuation(
      position: volume.position(ofBlock: try entry.number(at: 4))
        + UInt64(try entry.number(at: 12)), length: Int(length), place: entry.reader.base)
  }
}
