internal import DiskCore

/// The header of hosted sparse and stream-optimized extents, one sector (Virtual Disk Format 5.0,
/// "Hosted Sparse Extents", `SparseExtentHeader`). The footer of a stream-optimized extent is another.
struct VMDKHostedHeader: Sendable {
  static let byteCount = 512
  /// The directory stands at the end of the file, and a footer says where (Virtual Disk Format 5.0,
  /// "Stream-Optimized Compressed Sparse Extents").
  static let directoryAtEnd = UInt64.max

  /// QEMU's limit too: 1 GiB. The usual grain is 64 KiB.
  static let largestGrain: UInt64 = 1 << 30
  /// The specification knows only 512; ESX Server's extents have 4,096.
  static let mostTableEntries: UInt32 = 4096

  /// The sectors that every writer keeps for a descriptor. Where more are claimed, grains may be there.
  private static let usualDescriptor: UInt64 = 20

  private enum Flags {
    /// The four bytes that show line breaks were changed are there.
    static let newlines: UInt32 = 1 << 0
    static let redundantDirectory: UInt32 = 1 << 1
    static let zeroGrains: UInt32 = 1 << 2
    static let compressed: UInt32 = 1 << 16
    static let markers: UInt32 = 1 << 17
    /// Who does not know one of these cannot read the extent.
    static let incompatible: UInt32 = 0xffff_0000
  }

  private let reader: ByteReader
  private let flags: UInt32
  /// In sectors; 0 where the embedded descriptor stands for the whole disk.
  let capacity: UInt64
  /// In sectors, both 0 where nothing is embedded.
  let descriptor: (start: UInt64, count: UInt64)
  let directorySector: UInt64
  let isUnclean: Bool
  let isCompressed: Bool

  /// - Parameter reader: of one sector.
  /// - Throws: `malformed` where it is no such header or was damaged on its way, `unsupported` for
  ///   versions, flags and compression that are not known.
  init(_ reader: ByteReader) throws(DiskError) {
    guard reader.matches("KDMV", at: 0) else {
      throw DiskError(
        .malformed, "no header of a sparse extent here", path: reader.path, offset: reader.base)
    }
    self.reader = reader
    flags = try reader.u32(at: 8)
    if flags & Flags.newlines != 0, !reader.matches([0x0a, 0x20, 0x0d, 0x0a], at: 73) {
      throw DiskError(
        .malformed,
        "was damaged by a transfer that changed line breaks, as FTP does in text mode; copy it again "
          + "in binary mode", path: reader.path, offset: reader.base + 73)
    }
    let version = try reader.u32(at: 4)
    guard (1...3).contains(version) else {
      throw DiskError(
        .unsupported, "a sparse extent of version \(version); 1 to 3 are known",
        path: reader.path, offset: reader.base + 4)
    }
    let unknown = flags & Flags.incompatible & ~(Flags.compressed | Flags.markers)
    guard unknown == 0 else {
      throw DiskError(
        .unsupported, "a sparse extent with the unknown flags 0x\(hexadecimal(unknown))",
        path: reader.path, offset: reader.base + 8)
    }
    let algorithm = try reader.u16(at: 77)
    guard algorithm <= 1, flags & Flags.compressed == 0 || algorithm == 1 else {
      throw DiskError(
        .unsupported,
        "a sparse extent whose grains are compressed by algorithm \(algorithm); only "
          + "deflate, 1, is known", path: reader.path, offset: reader.base + 77)
    }
    isCompressed = algorithm == 1
    capacity = try reader.u64(at: 12)
    descriptor = (try reader.u64(at: 28), try reader.u64(at: 36))
    directorySector = try reader.u64(at: 56)
    isUnclean = try reader.u8(at: 72) != 0
  }

  var hasZeroGrains: Bool { flags & Flags.zeroGrains != 0 }
  /// Whether the grain's place in the disk stands before it.
  var hasMarkers: Bool { flags & Flags.markers != 0 }

  /// Where the grains are.
  ///
  /// - Throws: `malformed` for numbers that cannot be.
  func geometry(hasParent: Bool) throws(DiskError) -> VMDKGeometry {
    let size = try VMDK.bytes(capacity, "a disk", in: reader, at: 12)
    let grainSectors = try reader.u64(at: 20)
    let largest = isCompressed ? VMDKGrainDecoder.largestGrain : Self.largestGrain
    guard grainSectors.nonzeroBitCount == 1, grainSectors <= largest / VMDK.sectorBytes else {
      throw DiskError(
        .malformed,
        "a grain of \(grainSectors) sectors; it must be a power of two, at most "
          + "\(largest / VMDK.sectorBytes)", path: reader.path, offset: reader.base + 20)
    }
    let entries = try reader.u32(at: 44)
    guard entries > 0, entries <= Self.mostTableEntries else {
      throw DiskError(
        .malformed,
        "grain tables of \(entries) entries; there are 512, and at most \(Self.mostTableEntries) "
          + "are read", path: reader.path, offset: reader.base + 44)
    }
    let directory = try VMDK.bytes(directorySector, "a grain directory", in: reader, at: 56)
    var redundant: FileOffset? = nil
    if flags & Flags.redundantDirectory != 0 {
      let sector = try reader.u64(at: 48)
      if sector > 0, sector <= Limits.largestDisk / VMDK.sectorBytes {
        redundant = FileOffset(sector * VMDK.sectorBytes)
      }
    }
    var structures = [reader.base..<reader.base + UInt64(Self.byteCount)]
    if reader.base > 0 { structures.append(0..<UInt64(Self.byteCount)) }
    if descriptor.start > 0, descriptor.start <= Limits.largestDisk / VMDK.sectorBytes {
      let start = descriptor.start * VMDK.sectorBytes
      let count = min(descriptor.count, Self.usualDescriptor)
      structures.append(start..<start + count * VMDK.sectorBytes)
    }
    return VMDKGeometry(
      size: size, grainBytes: grainSectors * VMDK.sectorBytes, entriesPerTable: Int(entries),
      directory: FileOffset(directory), redundantDirectory: redundant, structures: structures,
      hasParent: hasParent)
  }
}

extension VMDKHostedHeader {
  /// The header that governs: the one at the start, or where the directory stands at the end of the
  /// file, the footer.
  ///
  /// - Parameter notes: gains what was worked around.
  /// - Throws: `truncated` where there should be a footer and is none.
  func governing(in source: any Storage, notes: inout [String]) throws(DiskError) -> Self {
    guard directorySector == Self.directoryAtEnd else { return self }
    let sector = VMDK.sectorBytes
    // Footer and end-of-stream marker are the last two sectors. Behind them may be what a transfer
    // or an archive padded the file with.
    let last = source.size / sector
    for back in 2...Self.mostPadding where last >= back {
      let place = FileOffset((last - back) * sector)
      let count = back == 2 ? 512 : 4
      guard try source.reader(at: place, count: count).matches("KDMV", at: 0), place.bytes > 0
      else { continue }
      let footer = try Self(source.reader(at: place, count: Self.byteCount))
      guard footer.directorySector != Self.directoryAtEnd else { continue }
      if back > 2 || source.size % sector != 0 {
        notes.append("there are bytes behind its end, which were not looked at")
      }
      return footer
    }
    throw DiskError(
      .truncated,
      "the file ends too early: its grain directory stands at its end, and there is no footer",
      path: source.path, offset: source.size)
  }

  /// How many sectors from the end a footer is looked for.
  private static let mostPadding: UInt64 = 128
}
