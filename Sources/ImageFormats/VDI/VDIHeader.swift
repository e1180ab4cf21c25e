internal import DiskCore

/// The preheader and the header at the start of every VDI. There is no specification; the layout is
/// that of VirtualBox's VDICore.h (`VDIPREHEADER`, `VDIHEADER1`), the checks are those of its VDI.cpp.
struct VDIHeader: Sendable {
  enum ImageType: UInt32, Sendable {
    case dynamic = 1
    case fixed = 2
    case undo = 3
    case differencing = 4
  }

  static let signature: [UInt8] = [0x7f, 0x10, 0xda, 0xbe]
  static let signatureOffset = 64
  /// Preheader and header of version 1.1 together; later ones are longer, with a second geometry.
  static let byteCount = 72 + 384
  /// VirtualBox makes blocks of 512 KiB to 8 MiB.
  static let largestBlock: UInt32 = 1 << 28
  /// VirtualBox makes none.
  static let largestExtra: UInt32 = 1 << 20

  let type: ImageType
  /// What the program that made it says of itself: `<<< Oracle VM VirtualBox Disk Image >>>`.
  let creator: String
  let comment: String
  let mapOffset: FileOffset
  let dataOffset: FileOffset
  /// In bytes; not always a multiple of a sector or a block.
  let diskSize: UInt64
  /// In bytes: a power of two, at least one sector.
  let blockSize: UInt32
  /// Bytes of the format's own before each block's data.
  let blockExtra: UInt32
  /// How many entries the map has: at least as many as the disk has blocks.
  let blocks: UInt32
  let uuid: String
  let modificationUUID: String
  /// The parent's `uuid`; nil where there is no parent.
  let parentUUID: String?
  /// The parent's `modificationUUID` when this image was made; nil where it was not written down.
  let parentModificationUUID: String?

  /// - Throws: `unsupported` for another version; `malformed` where the header contradicts itself.
  init(_ reader: ByteReader) throws(DiskError) {
    func refused(
      _ message: String, at place: Int, as kind: DiskError.Kind = .malformed
    ) -> DiskError {
      DiskError(kind, message, path: reader.path, offset: reader.base + UInt64(place))
    }
    guard reader.matches(Self.signature, at: Self.signatureOffset) else {
      throw refused("no VDI signature here", at: Self.signatureOffset)
    }
    let version = try reader.u32(at: 68)
    guard version >> 16 == 1 else {
      throw refused(
        "a VDI of format version \(version >> 16).\(version & 0xffff); this version of Platter reads "
          + "1.1, which VirtualBox converts older ones to", at: 68, as: .unsupported)
    }
    let headerSize = try reader.u32(at: 72)
    guard headerSize >= 384 else {
      throw refused("a header of \(headerSize) bytes; version 1.1 has at least 384", at: 72)
    }
    let rawType = try reader.u32(at: 76)
    guard let type = ImageType(rawValue: rawType) else {
      throw refused(
        "the header names image type \(rawType), which is none of dynamic, fixed, undo and "
          + "differencing", at: 76)
    }
    self.type = type
    creator =
      try reader.text(at: 0, count: 64).split(whereSeparator: \.isNewline).first
      .map(String.init) ?? ""
    comment = try reader.text(at: 84, count: 256)
    diskSize = try reader.u64(at: 368)
    guard diskSize <= Limits.largestDisk else {
      throw refused("the header claims a disk of \(diskSize) bytes", at: 368)
    }
    blockSize = try reader.u32(at: 376)
    guard blockSize >= 512, blockSize <= Self.largestBlock, blockSize.nonzeroBitCount == 1 else {
      throw refused(
        "a block size of \(blockSize) bytes; it must be a power of two from 512 to "
          + "\(Self.largestBlock)", at: 376)
    }
    blockExtra = try reader.u32(at: 380)
    guard blockExtra <= Self.largestExtra, blockExtra.nonzeroBitCount <= 1 else {
      throw refused(
        "\(blockExtra) bytes before each block; it must be 0 or a power of two up to "
          + "\(Self.largestExtra)", at: 380)
    }
    blocks = try reader.u32(at: 384)
    let needed = diskSize / UInt64(blockSize) + (diskSize % UInt64(blockSize) == 0 ? 0 : 1)
    guard needed <= UInt64(blocks) else {
      throw refused(
        "a disk of \(diskSize) bytes needs \(needed) blocks, but the block map has \(blocks)",
        at: 384)
    }
    mapOffset = FileOffset(UInt64(try reader.u32(at: 340)))
    guard mapOffset.bytes >= UInt64(Self.byteCount) else {
      throw refused("the block map lies inside the header, at byte \(mapOffset.bytes)", at: 340)
    }
    dataOffset = FileOffset(UInt64(try reader.u32(at: 344)))
    let mapEnd = mapOffset + 4 * UInt64(blocks)
    guard dataOffset >= mapEnd else {
      throw refused(
        "the blocks start at byte \(dataOffset.bytes), inside the header or the block map, which ends "
          + "at byte \(mapEnd.bytes)", at: 344)
    }
    uuid = try reader.guid(at: 392)
    modificationUUID = try reader.guid(at: 408)
    parentUUID = try reader.guidUnlessZero(at: 424)
    parentModificationUUID = try reader.guidUnlessZero(at: 440)
  }

  /// How many blocks the disk has.
  var neededBlocks: Int {
    Int(diskSize / UInt64(blockSize) + (diskSize % UInt64(blockSize) == 0 ? 0 : 1))
  }

  /// Whether what the map leaves out is another image's. By the UUID too: an image that names a
  /// parent and calls itself dynamic would otherwise show zeros in its place.
  var hasParent: Bool {
    type == .undo || type == .differencing || parentUUID != nil
  }
}

extension ByteReader {
  fileprivate func guidUnlessZero(at offset: Int) throws(DiskError) -> String? {
    try slice(at: offset, count: 16).allSatisfy { $0 == 0 } ? nil : try guid(at: offset)
  }
}
