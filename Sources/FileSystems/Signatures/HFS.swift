internal import Digests
internal import DiskCore

extension FileSystemSignature {
  /// HFS: the master directory block at 1024, big-endian (Inside Macintosh: Files, chapter 2).
  static func hfs(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    let block = try source.reader(at: 1024, count: 162)
    guard block.matches("BD", at: 0), !isWrapper(block),
      isAllocationSize(try block.u32(at: 20, .big))
    else { return nil }
    let length = min(Int(try block.u8(at: 36)), 27)
    return FileSystemSignature(
      type: "hfs", label: try block.label(at: 37, count: length),
      uuid: try finderIdentifier(block, at: 92 + 24))
  }

  /// HFS+ and HFSX: the volume header at 1024, in a wrapper of HFS where old machines should see
  /// one (Apple Technical Note TN1150).
  static func hfsPlus(_ source: SignatureSource) throws(DiskError) -> FileSystemSignature? {
    var base: UInt64 = 0
    let block = try source.reader(at: 1024, count: 162)
    if block.matches("BD", at: 0) {
      let allocationSize = try block.u32(at: 20, .big)
      guard isWrapper(block), isAllocationSize(allocationSize) else { return nil }
      base =
        UInt64(try block.u16(at: 28, .big)) * 512
        + UInt64(try block.u16(at: 126, .big)) * UInt64(allocationSize)
    }
    let header = try source.reader(at: base + 1024, count: 512)
    let blockSize = try header.u32(at: 40, .big)
    guard header.matches("H+", at: 0) || header.matches("HX", at: 0),
      (512...largestBlock).contains(blockSize),
      isPowerOfTwo(blockSize)
    else { return nil }
    let label = try? rootName(source, header, base: base, blockSize: UInt64(blockSize))
    return FileSystemSignature(
      type: "hfsplus", label: label, uuid: try finderIdentifier(header, at: 80 + 24))
  }

  /// 16 MiB: volumes have 4 KiB. Keeps every sum below in 64 bits.
  private static let largestBlock: UInt32 = 16 << 20

  private static func isWrapper(_ block: ByteReader) -> Bool {
    block.matches("H+", at: 124) || block.matches("HX", at: 124)
  }

  private static func isAllocationSize(_ size: UInt32) -> Bool { size > 0 && size % 512 == 0 }

  /// The label is the name of the root folder: the key of the first record in the catalog's first
  /// leaf, whose parent is number 1.
  private static func rootName(
    _ source: SignatureSource, _ header: ByteReader, base: UInt64, blockSize: UInt64
  ) throws(DiskError) -> String? {
    // The catalog's fork is at 272, its eight extents 16 bytes further.
    let extents = 272 + 16
    let catalog = base + UInt64(try header.u32(at: extents, .big)) * blockSize
    let tree = try source.reader(at: catalog, count: 512)
    let nodeSize = UInt64(try tree.u16(at: 14 + 18, .big))
    guard nodeSize >= 512, isPowerOfTwo(nodeSize), try tree.u32(at: 14 + 6, .big) > 0 else {
      return nil
    }
    var place = UInt64(try tree.u32(at: 14 + 10, .big)) * nodeSize
    for index in 0..<8 {
      let length = UInt64(try header.u32(at: extents + 8 * index + 4, .big)) * blockSize
      if place >= length {
        place -= length
        continue
      }
      let start = base + UInt64(try header.u32(at: extents + 8 * index, .big)) * blockSize
      let leaf = try source.reader(at: start + place, count: Int(nodeSize))
      guard try leaf.u8(at: 8) == 0xFF, try leaf.u16(at: 10, .big) > 0,
        try leaf.u32(at: 14 + 2, .big) == 1
      else { return nil }
      let units = Int(try leaf.u16(at: 14 + 6, .big))
      guard units <= 255 else { return nil }
      return try leaf.label(at: 14 + 8, utf16Units: units, .big)
    }
    return nil
  }

  /// The UUID that Apple's systems and `blkid` make of the eight bytes that the Finder keeps: a
  /// version 3 UUID in a namespace of Apple's. Nil where the bytes are zero.
  private static func finderIdentifier(
    _ reader: ByteReader, at offset: Int
  ) throws(DiskError) -> String? {
    let identifier = Array(try reader.slice(at: offset, count: 8))
    guard identifier.contains(where: { $0 != 0 }) else { return nil }
    var digest = try Digest.of(finderNamespace + identifier, .md5)
    digest[6] = 0x30 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    return try ByteReader(digest).uuid(at: 0)
  }

  /// B3E20F39-F292-11D6-97A4-00306543ECAC.
  private static let finderNamespace: [UInt8] = [
    0xB3, 0xE2, 0x0F, 0x39, 0xF2, 0x92, 0x11, 0xD6, 0x97, 0xA4, 0x00, 0x30, 0x65, 0x43, 0xEC,
    0xAC,
  ]
}
