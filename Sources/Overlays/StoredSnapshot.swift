internal import DiskCore
internal import ImageFormats

/// An entry of the snapshot table (qcow2 specification, "Snapshots").
struct StoredSnapshot: Sendable {
  /// QEMU's limits: it opens no file with more, or with a larger table.
  static let most = 65536
  static let largestTable: UInt64 = 64 << 20
  private static let fixedBytes = 40
  /// QEMU opens none with more.
  private static let mostExtraData = 1024
  /// QEMU's tools keep names in 256 bytes, the last of which is 0.
  static let longestName = 255
  /// Of all snapshots together: a thousand of a disk of 16 TiB.
  private static let largestL1Tables: UInt64 = 256 << 20

  let l1Offset: UInt64
  let l1Count: Int
  let id: String
  let name: String
  let seconds: UInt32
  let nanoseconds: UInt32
  /// In bytes, as in the header; nil where the entry does not say.
  let diskSize: UInt64?
  /// The entry as it stands in the table, with what is not known here, without padding.
  private let entry: [UInt8]

  func l1Run(_ geometry: OverlayGeometry) -> Range<UInt64> {
    let start = l1Offset / geometry.clusterSize
    return start..<start + geometry.clusters(UInt64(l1Count) * 8)
  }

  func l1(of file: any Storage) throws(DiskError) -> [UInt64] {
    try file.words(at: l1Offset, count: l1Count)
  }

  func record(_ header: OverlayHeader) -> Overlay.SnapshotRecord {
    Overlay.SnapshotRecord(
      id: id, name: name, seconds: Int(seconds), nanoseconds: Int(nanoseconds),
      size: diskSize.map {
        PlatterExtension.diskSize(exact: header.platter.exactSize, header: $0)
      } ?? header.size)
  }
}

extension StoredSnapshot {
  /// A new one, which takes over an L1 table.
  init(
    id: String, name: String, at time: (seconds: Int, nanoseconds: Int), l1Offset: UInt64,
    l1Count: Int, diskSize: UInt64
  ) {
    self.l1Offset = l1Offset
    self.l1Count = l1Count
    self.id = id
    self.name = name
    self.diskSize = diskSize
    seconds = UInt32(clamping: time.seconds)
    nanoseconds = UInt32(clamping: time.nanoseconds)
    var bytes: [UInt8] = []
    bytes.appendBig(l1Offset)
    bytes.appendBig(UInt32(clamping: l1Count))
    bytes.appendBig(UInt16(clamping: id.utf8.count))
    bytes.appendBig(UInt16(clamping: name.utf8.count))
    bytes.appendBig(seconds)
    bytes.appendBig(nanoseconds)
    // No machine has run, and its memory is not kept.
    bytes.appendBig(UInt64(0))
    bytes.appendBig(UInt32(0))
    bytes.appendBig(UInt32(24))
    bytes.appendBig(UInt64(0))
    bytes.appendBig(diskSize)
    // No instructions were counted.
    bytes.appendBig(UInt64.max)
    entry = bytes + Array(id.utf8) + Array(name.utf8)
  }

  private init(_ bytes: [UInt8], _ reader: ByteReader, extra: Int, id: Int) throws(DiskError) {
    let text = Self.fixedBytes + extra
    entry = bytes
    l1Offset = try reader.u64(at: 0, .big)
    l1Count = Int(try reader.u32(at: 8, .big))
    self.id = String(decoding: bytes[text..<text + id], as: UTF8.self)
    name = String(decoding: bytes[(text + id)...], as: UTF8.self)
    seconds = try reader.u32(at: 16, .big)
    nanoseconds = try reader.u32(at: 20, .big)
    diskSize = extra >= 16 ? try reader.u64(at: Self.fixedBytes + 8, .big) : nil
  }

  /// The table of a file, and its length in bytes.
  ///
  /// - Throws: `malformed` or `truncated` for a table that cannot be.
  static func all(
    of file: any Storage, _ header: OverlayHeader
  ) throws(DiskError) -> (snapshots: [StoredSnapshot], bytes: UInt64) {
    var snapshots: [StoredSnapshot] = []
    var bytes: UInt64 = 0
    var tables: UInt64 = 0
    for _ in 0..<header.snapshotCount {
      let place = header.snapshotsOffset + bytes
      func refuse(_ what: String) -> DiskError {
        DiskError(.malformed, what, path: file.path, offset: place)
      }
      let fixed = try file.reader(at: FileOffset(place), count: fixedBytes)
      let id = Int(try fixed.u16(at: 12, .big))
      let name = Int(try fixed.u16(at: 14, .big))
      let extra = Int(try fixed.u32(at: 36, .big))
      guard extra <= mostExtraData else {
        throw refuse("a snapshot with \(extra) bytes of extra data")
      }
      let reader = try file.reader(at: FileOffset(place), count: fixedBytes + extra + id + name)
      let snapshot = try StoredSnapshot(reader.bytes, reader, extra: extra, id: id)
      try snapshot.check(file, header, refuse)
      tables += UInt64(snapshot.l1Count) * 8
      bytes += UInt64((reader.count + 7) / 8 * 8)
      guard tables <= largestL1Tables, bytes <= largestTable else {
        throw refuse("its snapshots have tables that are larger than Platter reads")
      }
      snapshots.append(snapshot)
    }
    return (snapshots, bytes)
  }

  private func check(
    _ file: any Storage, _ header: OverlayHeader, _ refuse: (String) -> DiskError
  ) throws(DiskError) {
    guard l1Count <= Limits.largestMetadataRead / 8 else {
      throw refuse("a snapshot's L1 table of \(l1Count) entries")
    }
    let length = UInt64(l1Count) * 8
    guard
      l1Count == 0
        || (l1Offset > 0 && l1Offset.isMultiple(of: header.geometry.clusterSize)
          && l1Offset <= file.size && length <= file.size - l1Offset)
    else { throw refuse("a snapshot's L1 table does not lie in the file") }
  }

  /// A table of `snapshots`.
  static func table(of snapshots: [StoredSnapshot]) -> [UInt8] {
    var bytes: [UInt8] = []
    for snapshot in snapshots {
      bytes += snapshot.entry
      bytes.padToEight()
    }
    return bytes
  }
}

extension [StoredSnapshot] {
  /// The one that is called `name`, or else has it as its number.
  ///
  /// - Throws: `notFound`; `invalidRequest` where QEMU made two of one name.
  func index(named name: String, path: String) throws(DiskError) -> Int {
    let named = indices.filter { self[$0].name == name }
    guard named.count <= 1 else {
      throw DiskError(
        .invalidRequest,
        "has \(named.count) snapshots of the name '\(printable(name))'; their numbers ("
          + named.map { printable(self[$0].id) }.joined(separator: ", ") + ") tell them apart",
        path: path)
    }
    if let found = named.first ?? firstIndex(where: { $0.id == name }) { return found }
    let names = prefix(20).map { printable($0.name) }.joined(separator: ", ")
    throw DiskError(
      .notFound,
      "has no snapshot '\(printable(name))'; "
        + (isEmpty ? "it has none at all" : "there are: \(names)\(count > 20 ? ", …" : "")"),
      path: path)
  }

  /// - Throws: `invalidRequest` for a name that no new one can have.
  func check(newName name: String, path: String) throws(DiskError) {
    func refuse(_ why: String) -> DiskError { DiskError(.invalidRequest, why, path: path) }
    guard !name.isEmpty, name.utf8.count <= StoredSnapshot.longestName else {
      throw refuse(
        "a snapshot's name has 1 to \(StoredSnapshot.longestName) bytes, and not "
          + "\(name.utf8.count)")
    }
    guard !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
      throw refuse("a snapshot's name has no control characters")
    }
    guard !contains(where: { $0.name == name }) else {
      throw refuse("has a snapshot '\(printable(name))' already; delete it, or take another name")
    }
    // QEMU takes a name or a number in one place.
    guard !contains(where: { $0.id == name }) else {
      throw refuse("'\(printable(name))' is the number of a snapshot; take another name")
    }
    guard count < StoredSnapshot.most else {
      throw refuse("has \(count) snapshots, the most that there can be; delete one")
    }
  }

  /// One more than the highest, as QEMU counts, and nobody's name.
  var nextID: String {
    var next = (map { UInt64($0.id) ?? 0 }.max() ?? 0) &+ 1
    while contains(where: { $0.name == "\(next)" || $0.id == "\(next)" }) { next &+= 1 }
    return "\(next)"
  }
}
