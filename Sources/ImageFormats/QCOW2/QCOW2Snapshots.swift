internal import DiskCore

/// The snapshots inside an image (docs/interop/qcow2.txt, "Snapshots").
struct QCOW2Snapshots: Sendable {
  struct Entry: Sendable {
    let l1: (offset: UInt64, count: UInt32)
    /// Where in the file this entry is.
    let place: UInt64
    let identifier: String
    let name: String
    /// Since 1970.
    let seconds: UInt32
    /// In bytes: of the virtual machine's memory, which is stored behind the disk.
    let stateSize: UInt64
    /// In bytes; nil where the entry does not say.
    let diskSize: UInt64?
  }

  /// QEMU opens no image with more.
  static let most: UInt32 = 65536
  /// How many are shown.
  static let mostShown: UInt32 = 1024
  /// QEMU writes 24 bytes of extra data and opens none with more than this.
  static let mostExtraData: UInt32 = 1024
  private(set) var entries: [Entry] = []
  /// In bytes: of the part of the table that was read.
  private(set) var byteCount: UInt64 = 0
  /// What kept the table from being read or from being shown as a whole. The disk does not need it.
  private(set) var notes: [String] = []

  /// - Throws: `inputOutput` where the system fails; whatever is wrong with the table is a note.
  init(_ source: any Storage, _ header: QCOW2Header) throws(DiskError) {
    let (start, count) = header.snapshots
    guard count > 0 else { return }
    do throws(DiskError) {
      guard count <= Self.most else {
        throw DiskError(
          .malformed, "\(count) snapshots, of which there can be \(Self.most)", offset: 60)
      }
      guard start % header.clusterSize == 0, start > 0 else {
        throw DiskError(.malformed, "the snapshot table cannot be at byte \(start)", offset: 64)
      }
      try read(source, at: start, count: min(count, Self.mostShown))
      if count > Self.mostShown {
        notes.append("only \(Self.mostShown) of its \(count) snapshots are shown")
      }
    } catch {
      guard error.kind != .inputOutput else { throw error }
      notes.append(
        "its table of \(count) snapshots cannot be read to its end: \(error.message)"
          + (error.offset.map { " (at byte \($0))" } ?? ""))
    }
  }

  private mutating func read(
    _ source: any Storage, at start: UInt64, count: UInt32
  ) throws(DiskError) {
    var table = Pieces(source)
    var place = start
    for _ in 0..<count {
      var (reader, at) = try table.piece(at: place, count: 40)
      let idBytes = UInt64(try reader.u16(at: at + 12, .big))
      let nameBytes = UInt64(try reader.u16(at: at + 14, .big))
      let extraBytes = try reader.u32(at: at + 36, .big)
      guard extraBytes <= Self.mostExtraData else {
        throw DiskError(
          .malformed, "an entry with \(extraBytes) bytes of extra data", offset: place)
      }
      let bytes = 40 + UInt64(extraBytes) + idBytes + nameBytes
      (reader, at) = try table.piece(at: place, count: bytes)
      let id = at + 40 + Int(extraBytes)
      entries.append(
        Entry(
          l1: (try reader.u64(at: at, .big), try reader.u32(at: at + 8, .big)), place: place,
          identifier: QEMUFileName.text(try reader.slice(at: id, count: Int(idBytes))),
          name: QEMUFileName.text(
            try reader.slice(at: id + Int(idBytes), count: Int(nameBytes))),
          seconds: try reader.u32(at: at + 16, .big),
          stateSize: extraBytes >= 8
            ? try reader.u64(at: at + 40, .big) : UInt64(try reader.u32(at: at + 32, .big)),
          diskSize: extraBytes >= 16 ? try reader.u64(at: at + 48, .big) : nil))
      place += (bytes + 7) / 8 * 8
      byteCount = place - start
    }
  }

  /// The table as it is read: so much at once that most entries need no read of their own.
  private struct Pieces {
    private static let usual: UInt64 = 4096

    private let source: any Storage
    private var reader = ByteReader([])

    init(_ source: any Storage) { self.source = source }

    /// A reader over the `count` bytes at `place` and others, and where in it they are.
    mutating func piece(at place: UInt64, count: UInt64) throws(DiskError) -> (ByteReader, Int) {
      if place >= reader.base, place - reader.base <= UInt64(reader.count),
        count <= UInt64(reader.count) - (place - reader.base)
      {
        return (reader, Int(place - reader.base))
      }
      guard place <= source.size, count <= source.size - place else {
        throw DiskError(.truncated, "an entry lies past the end of the file", offset: place)
      }
      let wanted = min(max(count, Self.usual), source.size - place)
      reader = try source.reader(at: FileOffset(place), count: Int(wanted))
      return (reader, 0)
    }
  }

  /// Each with a layer over the snapshot's own L1 table.
  func internalSnapshots(
    _ clusters: QCOW2Clusters, _ header: QCOW2Header, _ platter: PlatterExtension?,
    _ description: LayerDescription
  ) -> [InternalSnapshot] {
    entries.map { entry in
      InternalSnapshot(
        name: entry.name, identifier: entry.identifier, created: Int(entry.seconds),
        open: { () throws(DiskError) -> any ImageLayer in
          let stored = entry.diskSize ?? header.size
          let size = platter?.diskSize(header: stored) ?? stored
          guard size <= Limits.largestDisk else {
            throw DiskError(
              .malformed, "the snapshot claims a disk of \(size) bytes",
              path: clusters.source.path, offset: entry.place + 48)
          }
          var description = description
          description.details.append(("snapshot", printable(entry.name)))
          if entry.stateSize > 0 {
            description.details.append(("machine state", "\(entry.stateSize)"))
          }
          return try QCOW2Image(
            clusters, size: size, table: entry.l1, isWhole: false, field: entry.place,
            description: description)
        })
    }
  }
}
