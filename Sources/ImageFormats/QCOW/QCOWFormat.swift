public import DiskCore

/// QEMU's first format of its own, of 2004, which is version 1 of what became QCOW2. It has no
/// specification; source: QEMU's driver as everybody reads it, and images of qemu-img 7.2.
public struct QCOWFormat: ImageFormat {
  public var name: String { "qcow" }
  public var aliases: [String] { ["qcow1"] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches(QCOW2Header.magic + [0, 0, 0, 1], at: 0)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let header = try QCOWHeader(source.reader(at: .start, count: Int(min(512, source.size))))
    guard header.cryptMethod == 0 else {
      throw DiskError(
        header.cryptMethod == 1 ? .unsupported : .malformed,
        header.cryptMethod == 1
          ? "is encrypted (AES), which this version of Platter does not read; 'qemu-img convert' "
            + "with its key makes a plain image of it"
          : "has encryption method \(header.cryptMethod), which is none", path: source.path,
        offset: 36)
    }
    var parent: ParentReference?
    if let place = header.backingName {
      let reader = try source.reader(at: FileOffset(place.offset), count: place.count)
      let name = QEMUFileName.text(reader.bytes[...])
      if !name.isEmpty { parent = QEMUFileName(name).parent(format: nil) }
    }
    let compressed: UInt64 = 1 << 63
    let layout = TwoLevelImage.Layout(
      clusterBits: UInt64(header.clusterBits), tableBits: UInt64(header.tableBits),
      tableAlignment: 1, order: .big,
      place: { entry in
        if entry == 0 { return .unallocated }
        if entry & compressed != 0 { return .compressed(entry & ~compressed) }
        return entry % 512 == 0 ? .data(entry) : .damaged("a cluster that is not aligned")
      })
    let description = LayerDescription(
      format: name, subformat: "v1", details: [("cluster size", "\(layout.clusterSize)")],
      notes: parent == nil
        ? [] : ["it does not say which format its backing file has: that is found by content"])
    return ParsedImage(
      [
        try TwoLevelImage(
          source, size: header.size, layout, table: header.tableOffset,
          headerBytes: UInt64(QCOWHeader.byteCount), hasParent: parent != nil,
          decoder: QEMUClusterDecoder(
            source, clusterBits: header.clusterBits, placeBits: 63 - header.clusterBits,
            unit: .bytes, .zlib), description: description)
      ], parent: parent)
  }
}

/// The 48 bytes at the start of a QCOW image, big-endian.
struct QCOWHeader: Sendable {
  static let byteCount = 48
  /// QEMU's: 512 bytes to 64 KiB.
  static let clusterBits: ClosedRange<UInt8> = 9...16
  /// QEMU's: 64 to 8,192 entries in a table.
  static let tableBits: ClosedRange<UInt8> = 6...13

  let backingName: (offset: UInt64, count: Int)?
  /// Of the virtual disk, in bytes.
  let size: UInt64
  let clusterBits: UInt32
  /// How many entries a table of the second level has, as a power of two.
  let tableBits: UInt32
  let cryptMethod: UInt32
  let tableOffset: FileOffset

  /// - Throws: `malformed` for numbers that QEMU refuses too.
  init(_ reader: ByteReader) throws(DiskError) {
    func refuse(_ message: String, _ at: UInt64) -> DiskError {
      DiskError(.malformed, message, path: reader.path, offset: at)
    }
    guard reader.matches(QCOW2Header.magic + [0, 0, 0, 1], at: 0) else {
      throw refuse("does not start as a QCOW image of version 1", 0)
    }
    let nameOffset = try reader.u64(at: 8, .big)
    let nameCount = try reader.u32(at: 16, .big)
    guard nameOffset == 0 || nameCount <= QCOW2Header.longestBackingName else {
      throw refuse(
        "has a backing file name of \(nameCount) bytes; \(QCOW2Header.longestBackingName) is the most",
        16)
    }
    backingName = nameOffset == 0 ? nil : (nameOffset, Int(nameCount))
    size = try reader.u64(at: 24, .big)
    guard size <= Limits.largestDisk else { throw refuse("claims a disk of \(size) bytes", 24) }
    let (clusterBits, tableBits) = (try reader.u8(at: 32), try reader.u8(at: 33))
    guard Self.clusterBits.contains(clusterBits) else {
      throw refuse("has clusters of 2^\(clusterBits) bytes; they can be 2^9 to 2^16", 32)
    }
    guard Self.tableBits.contains(tableBits) else {
      throw refuse("has tables of 2^\(tableBits) entries; they can be 2^6 to 2^13", 33)
    }
    (self.clusterBits, self.tableBits) = (UInt32(clusterBits), UInt32(tableBits))
    cryptMethod = try reader.u32(at: 36, .big)
    tableOffset = FileOffset(try reader.u64(at: 40, .big))
  }
}
