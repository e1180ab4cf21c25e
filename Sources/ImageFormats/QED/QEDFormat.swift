public import DiskCore

/// QEMU's Enhanced Disk, of 2010. Source: docs/interop/qed_spec.txt of QEMU.
public struct QEDFormat: ImageFormat {
  public var name: String { "qed" }
  public var aliases: [String] { [] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool { sample.head.matches(QEDHeader.magic, at: 0) }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let header = try QEDHeader(source.reader(at: .start, count: Int(min(512, source.size))))
    var notes: [String] = []
    if header.needsCheck {
      notes.append(
        "it was not closed cleanly: its tables may be inconsistent ('qemu-img check' says more)")
    }
    var parent: ParentReference?
    if let place = header.backingName {
      let reader = try source.reader(at: FileOffset(place.offset), count: place.count)
      let name = QEMUFileName.text(reader.bytes[...])
      if !name.isEmpty {
        parent = QEMUFileName(name).parent(format: header.hasRawBacking ? "raw" : nil)
        if !header.hasRawBacking {
          notes.append(
            "it does not say which format its backing file has: that is found by content")
        }
      }
    }
    let unit = header.clusterSize
    let layout = TwoLevelImage.Layout(
      clusterBits: UInt64(unit.trailingZeroBitCount),
      tableBits: UInt64((header.tableBytes / 8).trailingZeroBitCount), tableAlignment: unit,
      order: .little,
      place: { entry in
        switch entry {
        case 0: .unallocated
        case 1: .zero
        default: entry % unit == 0 ? .data(entry) : .damaged("a cluster that is not aligned")
        }
      })
    guard layout.tables(for: header.size) <= header.tableBytes / 8 else {
      throw DiskError(
        .malformed, "a disk of \(header.size) bytes is larger than its tables can map",
        path: source.path, offset: 48)
    }
    let description = LayerDescription(
      format: name,
      details: [("cluster size", "\(unit)"), ("table size", "\(header.tableBytes)")], notes: notes)
    return ParsedImage(
      [
        try TwoLevelImage(
          source, size: header.size, layout, table: header.tableOffset,
          headerBytes: header.headerBytes, hasParent: parent != nil, description: description)
      ], parent: parent)
  }
}

/// The 64 bytes at the start of a QED image, little-endian (qed_spec.txt, "Header").
struct QEDHeader: Sendable {
  static let magic: [UInt8] = [0x51, 0x45, 0x44, 0]

  private enum Feature {
    static let backingFile: UInt64 = 1
    static let needsCheck: UInt64 = 2
    static let rawBacking: UInt64 = 4
    static let known: UInt64 = 7
  }

  /// In bytes: a power of two from 4 KiB to 64 MiB.
  let clusterSize: UInt64
  /// In bytes: of a table of either level.
  let tableBytes: UInt64
  let headerBytes: UInt64
  let tableOffset: FileOffset
  /// Of the virtual disk, in bytes.
  let size: UInt64
  let backingName: (offset: UInt64, count: Int)?
  private let features: UInt64

  var needsCheck: Bool { features & Feature.needsCheck != 0 }
  /// Whether the backing file is a raw disk, whatever its content looks like.
  var hasRawBacking: Bool { features & Feature.rawBacking != 0 }

  /// - Throws: `malformed` for a header that contradicts the specification, `unsupported` for a
  ///   feature that is not known.
  init(_ reader: ByteReader) throws(DiskError) {
    func refuse(_ message: String, _ at: UInt64, _ kind: DiskError.Kind = .malformed) -> DiskError {
      DiskError(kind, message, path: reader.path, offset: at)
    }
    guard reader.matches(Self.magic, at: 0) else {
      throw refuse("does not start as a QED image", 0)
    }
    clusterSize = UInt64(try reader.u32(at: 4))
    guard (4096...67_108_864).contains(clusterSize), clusterSize.nonzeroBitCount == 1 else {
      throw refuse(
        "has clusters of \(clusterSize) bytes; they must be a power of two from 4096 to 67108864", 4
      )
    }
    let tableSize = UInt64(try reader.u32(at: 8))
    guard (1...16).contains(tableSize), tableSize.nonzeroBitCount == 1 else {
      throw refuse("has tables of \(tableSize) clusters; they must be 1, 2, 4, 8 or 16", 8)
    }
    tableBytes = tableSize * clusterSize
    let headerSize = UInt64(try reader.u32(at: 12))
    guard headerSize > 0 else { throw refuse("has a header of 0 clusters", 12) }
    headerBytes = headerSize * clusterSize
    features = try reader.u64(at: 16)
    guard features & ~Feature.known == 0 else {
      throw refuse(
        "needs features that this version of Platter does not know (bits "
          + hexadecimal(features & ~Feature.known) + ")", 16, .unsupported)
    }
    tableOffset = FileOffset(try reader.u64(at: 40))
    guard tableOffset.bytes % clusterSize == 0, tableOffset.bytes >= headerBytes else {
      throw refuse("the L1 table cannot be at byte \(tableOffset.bytes)", 40)
    }
    size = try reader.u64(at: 48)
    guard size <= Limits.largestDisk else { throw refuse("claims a disk of \(size) bytes", 48) }
    guard features & Feature.backingFile != 0 else {
      backingName = nil
      return
    }
    let (offset, count) = (try reader.u32(at: 56), try reader.u32(at: 60))
    guard count <= QCOW2Header.longestBackingName, UInt64(offset) + UInt64(count) <= headerBytes
    else {
      throw refuse(
        "has a backing file name of \(count) bytes at byte \(offset); it must lie in the header and "
          + "have at most \(QCOW2Header.longestBackingName) bytes", 56)
    }
    backingName = (UInt64(offset), Int(count))
  }
}
