internal import DiskCore

/// One session's volume descriptors (ECMA-119, 8; Joliet Specification, 3; ISO 9660:1999, 8.5; El
/// Torito, 2.0).
struct ISODescriptors {
  /// More than any disc has; Linux stops at 100.
  private static let mostDescriptors: UInt64 = 64
  /// In sectors from the session's start.
  static let firstSector: UInt64 = 16

  /// Where in the volume the session starts, in sectors.
  let session: UInt64
  /// Of logical blocks, in bytes.
  let blockSize: UInt64
  /// Of the volume space, in blocks.
  let blocks: UInt32
  let primaryRoot: ISORootRecord
  let jolietRoot: ISORootRecord?
  /// Of an enhanced descriptor: ISO 9660:1999's long names.
  let enhancedRoot: ISORootRecord?
  /// The sector of El Torito's boot catalogue.
  let bootCatalogue: UInt32?
  /// What was worked around.
  let notes: [String]

  /// - Returns: nil where no primary descriptor stands 16 sectors behind `session`.
  /// - Throws: `malformed` for one that cannot be.
  init?(_ volume: Volume, session: UInt64) throws(DiskError) {
    var primary: ByteReader? = nil
    var joliet: ByteReader? = nil
    var enhanced: ByteReader? = nil
    var catalogue: UInt32? = nil
    for index in 0..<Self.mostDescriptors {
      let place = (session + Self.firstSector + index) * ISOVolume.sectorSize
      guard let descriptor = Self.descriptor(volume, at: place) else { break }
      let type = try descriptor.u8(at: 0)
      if type == 255 { break }
      switch type {
      case 0 where catalogue == nil && descriptor.matches("EL TORITO SPECIFICATION", at: 7):
        catalogue = try descriptor.u32(at: 0x47)
      case 1 where primary == nil:
        primary = descriptor
      case 2:
        if try descriptor.u8(at: 6) == 2 {
          enhanced = enhanced ?? descriptor
        } else if Self.isJoliet(descriptor) {
          joliet = joliet ?? descriptor
        }
      default: break
      }
    }
    guard let primary else { return nil }
    var notes: [String] = []
    let size = try primary.u16(at: 128)
    guard [512, 1024, 2048].contains(size) else {
      throw DiskError(
        .malformed, "a block size of \(size) bytes; ISO 9660 has 512, 1024 or 2048",
        path: volume.storage.path, offset: primary.base + 128)
    }
    if try size != primary.u16(at: 130, .big) {
      notes.append("the block size differs in its two byte orders; the little-endian one is taken")
    }
    blocks = try primary.u32(at: 80)
    if try blocks != primary.u32(at: 84, .big) {
      notes.append(
        "the volume's size differs in its two byte orders; the little-endian one is taken")
    }
    self.session = session
    blockSize = UInt64(size)
    primaryRoot = try ISORootRecord(primary)
    jolietRoot = try joliet.map { (found) throws(DiskError) in try ISORootRecord(found) }
    enhancedRoot = try enhanced.map { (found) throws(DiskError) in try ISORootRecord(found) }
    bootCatalogue = catalogue
    self.notes = notes
  }

  /// The 2,048 bytes at `place` where they are a volume descriptor.
  private static func descriptor(_ volume: Volume, at place: UInt64) -> ByteReader? {
    guard let reader = try? volume.reader(at: DiskOffset(place), count: Int(ISOVolume.sectorSize)),
      reader.matches("CD001", at: 1)
    else { return nil }
    return reader
  }

  /// By the escape sequences of UCS-2 levels 1 to 3 (Joliet Specification, 3.2).
  private static func isJoliet(_ descriptor: ByteReader) -> Bool {
    ["%/@", "%/C", "%/E"].contains { descriptor.matches(Array($0.utf8), at: 88) }
  }
}

/// A root folder's record, as a descriptor has it (ECMA-119, 8.4.18).
struct ISORootRecord: Equatable {
  let block: UInt32
  /// Of an extended attribute record before the folder.
  let attributeBlocks: UInt8

  init(_ descriptor: ByteReader) throws(DiskError) {
    block = try descriptor.u32(at: 156 + 2)
    attributeBlocks = try descriptor.u8(at: 156 + 1)
  }

  func position(_ volume: ISOVolume) -> UInt64 {
    volume.position(ofBlock: block) + UInt64(attributeBlocks) * volume.blockSize
  }
}
