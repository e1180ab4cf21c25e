internal import DiskCore

/// The headers of space-efficient sparse extents, `seSparse`, which vSphere 6.5 and later write for
/// snapshots. VMware has published no specification; the fields are those that QEMU's
/// `block/vmdk.c` names, and what it does not read is refused here too.
struct VMDKSpaceEfficientHeader: Sendable {
  static let byteCount = 512
  /// Major version 2, minor version 1.
  static let version: UInt64 = 0x0000_0002_0000_0001
  static let grainSectors: UInt64 = 8
  static let tableSectors: UInt64 = 64
  private static let volatileMagic: UInt64 = 0x0000_0000_cafe_cafe

  private let reader: ByteReader
  let scheme: VMDKSpaceEfficientScheme

  /// - Parameter reader: of the file's first sector.
  /// - Throws: `unsupported` for what is not known of the format, and for a journal that has to be
  ///   replayed; `malformed` where the second header is none.
  init(_ reader: ByteReader, in source: any Storage) throws(DiskError) {
    self.reader = reader
    let expected: [(field: Int, value: UInt64, what: String)] = [
      (8, Self.version, "version"), (24, Self.grainSectors, "grain size"),
      (32, Self.tableSectors, "grain table size"), (40, 0, "flags"),
    ]
    for (field, value, what) in expected {
      let found = try reader.u64(at: field)
      guard found == value else {
        throw DiskError(
          .unsupported,
          "a space-efficient sparse extent with the \(what) 0x\(hexadecimal(found)); only "
            + "0x\(hexadecimal(value)) is known", path: reader.path, offset: UInt64(field))
      }
    }
    scheme = VMDKSpaceEfficientScheme(
      tables: try VMDK.bytes(reader.u64(at: 144), "grain tables", in: reader, at: 144),
      grains: try VMDK.bytes(reader.u64(at: 192), "grains", in: reader, at: 192))
    try Self.checkJournal(reader, in: source)
  }

  /// The second header changes as the disk is written. What its journal holds is not known.
  private static func checkJournal(
    _ reader: ByteReader, in source: any Storage
  ) throws(DiskError) {
    let place = FileOffset(
      try VMDK.bytes(reader.u64(at: 80), "a volatile header", in: reader, at: 80))
    let header = try source.reader(at: place, count: 32)
    guard try header.u64(at: 0) == volatileMagic else {
      throw DiskError(
        .malformed, "no volatile header where the first header says it is", path: reader.path,
        offset: place.bytes)
    }
    guard try header.u64(at: 24) == 0 else {
      throw DiskError(
        .unsupported,
        "was not closed cleanly, and its journal must be replayed; let the ESXi host that wrote it do "
          + "that", path: reader.path, offset: place.bytes + 24)
    }
  }

  func geometry(hasParent: Bool) throws(DiskError) -> VMDKGeometry {
    let directory = try VMDK.bytes(
      reader.u64(at: 128), "a grain directory", in: reader, at: 128)
    let volatile = try reader.u64(at: 80) * VMDK.sectorBytes
    let geometry = VMDKGeometry(
      size: try VMDK.bytes(reader.u64(at: 16), "a disk", in: reader, at: 16),
      grainBytes: Self.grainSectors * VMDK.sectorBytes,
      entriesPerTable: Int(VMDKSpaceEfficientScheme.tableBytes / 8),
      directory: FileOffset(directory),
      structures: [0..<UInt64(Self.byteCount), volatile..<volatile + UInt64(Self.byteCount)],
      hasParent: hasParent)
    let entries =
      try VMDK.bytes(
        reader.u64(at: 136), "a grain directory", in: reader, at: 136) / 8
    guard geometry.tableCount <= entries else {
      throw DiskError(
        .malformed,
        "a disk of \(geometry.size) bytes needs \(geometry.tableCount) grain tables, but the grain "
          + "directory has \(entries) entries", path: reader.path, offset: 136)
    }
    return geometry
  }
}

/// Entries of 64 bits whose top four say what they are.
struct VMDKSpaceEfficientScheme: VMDKGrainScheme {
  static let tableBytes = VMDKSpaceEfficientHeader.tableSectors * VMDK.sectorBytes

  /// Where table 0 and grain 0 are, in bytes.
  let tables: UInt64
  let grains: UInt64

  func table(_ entry: UInt64) -> VMDKPlace {
    if entry == 0 { return .none }
    guard entry >> 32 == 0x1000_0000 else {
      return .damaged(.malformed, "an entry of the grain directory is 0x\(hexadecimal(entry))")
    }
    return place(tables, entry & 0xffff_ffff, Self.tableBytes)
  }

  /// The grain's number is turned: its lowest 12 bits stand above its upper 48.
  func grain(_ entry: UInt64) -> VMDKPlace {
    switch entry >> 60 {
    case 0 where entry == 0:
      return .none
    // Unmapped by the guest (QEMU reads zeros too), and never other than zeros.
    case 1, 2:
      return .zero
    case 3:
      let number = (entry >> 48 & 0xfff) | (entry & 0x0000_ffff_ffff_ffff) << 12
      return place(grains, number, VMDKSpaceEfficientHeader.grainSectors * VMDK.sectorBytes)
    default:
      return .damaged(.malformed, "an entry of a grain table is 0x\(hexadecimal(entry))")
    }
  }

  private func place(_ start: UInt64, _ number: UInt64, _ unit: UInt64) -> VMDKPlace {
    let (distance, isTooFar) = number.multipliedReportingOverflow(by: unit)
    let (sum, overflow) = start.addingReportingOverflow(distance)
    guard !isTooFar, !overflow else {
      return .damaged(.truncated, "grain or table \(number) lies past the end of any file")
    }
    return .at(FileOffset(sum))
  }
}
