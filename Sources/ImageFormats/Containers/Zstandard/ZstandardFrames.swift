internal import DiskCore

/// Where the frames of a Zstandard file are, by the headers of frames and blocks; nothing is decoded.
struct ZstandardFrames {
  static let magic: UInt32 = 0xfd2f_b528
  /// How many blocks are passed at most, of up to 128 KiB decoded: each costs a read.
  static let mostBlocks = 1 << 18
  /// Frames are joined to segments of this many decoded bytes at least.
  static let segment: UInt64 = 1 << 20

  /// How many skippable frames are passed to find the first that is none.
  private static let mostSkipped = 16

  /// Where segments begin.
  private(set) var points: [EntryPoint] = []
  private(set) var count = 0
  /// Whether the walk came to the end of the file.
  private(set) var isWhole = false
  /// What all frames decode to; where the walk did not come to its end, what the first one does. Nil
  /// where a header does not say.
  private(set) var size: UInt64?

  static func isSkippable(_ magic: UInt32) -> Bool { magic & 0xffff_fff0 == 0x184d_2a50 }

  /// How far back the first frame refers, in bytes, which one encoder made like the others; nil where it
  /// does not say.
  static func window(of source: any Storage) throws(DiskError) -> UInt64? {
    var place: UInt64 = 0
    for _ in 0..<mostSkipped where place < source.size {
      guard let header = try Header(in: source, at: place) else { return nil }
      if header.skips == 0 { return header.window }
      guard header.skips <= source.size - place else { return nil }
      place += header.skips
    }
    return nil
  }

  /// - Throws: what reading throws; a file that is no good is walked to where it is not.
  init(of source: any Storage) throws(DiskError) {
    var place: UInt64 = 0
    var blocks = 0
    var decoded: UInt64? = 0
    while place < source.size {
      guard let header = try Header(in: source, at: place) else { break }
      if header.skips > 0 {
        guard header.skips <= source.size - place else { break }
        place += header.skips
        blocks += 1
        if blocks > Self.mostBlocks {
          // More frames can follow: the first one's size says nothing of the file's.
          size = nil
          break
        }
        continue
      }
      count += 1
      if count == 1 { size = header.contentSize }
      if let decoded, points.last.map({ decoded - $0.decoded >= Self.segment }) ?? true {
        // A frame of nothing between two segments would be an entry point twice.
        if points.last?.decoded != decoded {
          points.append(EntryPoint(decoded: decoded, stored: place))
        }
      }
      let sum = decoded.flatMap { decoded in
        header.contentSize.map { decoded.addingReportingOverflow($0) }
      }
      decoded = sum.flatMap {
        $0.overflow || $0.partialValue > Limits.largestDisk ? nil : $0.partialValue
      }
      guard
        let end = try Self.end(
          of: source, from: place + header.length, hasChecksum: header.hasChecksum, &blocks)
      else { return }
      place = end
    }
    // What is behind the last frame is not of it, and is told when it is come by.
    isWhole = place == source.size && count > 0
    if isWhole { size = decoded }
  }

  /// Where a frame ends whose blocks begin at `place`; nil where it does not, or that would take too
  /// long to find out.
  private static func end(
    of source: any Storage, from place: UInt64, hasChecksum: Bool, _ blocks: inout Int
  ) throws(DiskError) -> UInt64? {
    var place = place
    while true {
      blocks += 1
      guard blocks <= mostBlocks, place < source.size, source.size - place >= 3 else { return nil }
      let bytes = try source.bytes(at: FileOffset(place), count: 3)
      let header = UInt64(bytes[0]) | UInt64(bytes[1]) << 8 | UInt64(bytes[2]) << 16
      // Section 3.1.1.2.2: of a run of one byte only that byte is stored; type 3 is reserved.
      let type = header >> 1 & 3
      guard type != 3 else { return nil }
      place += 3 + (type == 1 ? 1 : header >> 3)
      if header & 1 == 1 {
        place += hasChecksum ? 4 : 0
        return place <= source.size ? place : nil
      }
    }
  }

  /// Section 3.1.1.1.
  private struct Header {
    /// Of the header, in bytes.
    var length: UInt64 = 0
    var contentSize: UInt64?
    /// How far back the frame refers, in bytes.
    var window: UInt64?
    var hasChecksum = false
    /// For a skippable frame: how long it is; 0 for others.
    var skips: UInt64 = 0

    /// Nil where no frame begins.
    init?(in source: any Storage, at place: UInt64) throws(DiskError) {
      let reader = try source.reader(
        at: FileOffset(place), count: Int(min(18, source.size - place)))
      guard let magic = try? reader.u32(at: 0) else { return nil }
      if ZstandardFrames.isSkippable(magic) {
        guard let size = try? reader.u32(at: 4) else { return nil }
        skips = 8 + UInt64(size)
        return
      }
      guard magic == ZstandardFrames.magic, let descriptor = try? reader.u8(at: 4) else {
        return nil
      }
      let isSingle = descriptor & 0x20 != 0
      hasChecksum = descriptor & 4 != 0
      let dictionary = [0, 1, 2, 4][Int(descriptor & 3)]
      let field = 5 + (isSingle ? 0 : 1) + dictionary
      let width = [isSingle ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
      length = UInt64(field + width)
      switch width {
      case 0: break
      case 1: contentSize = (try? reader.u8(at: field)).map { UInt64($0) }
      // Two bytes begin where one byte ends.
      case 2: contentSize = (try? reader.u16(at: field)).map { UInt64($0) + 256 }
      case 4: contentSize = (try? reader.u32(at: field)).map { UInt64($0) }
      default: contentSize = try? reader.u64(at: field)
      }
      guard width == 0 || contentSize != nil else { return nil }
      window = isSingle ? contentSize : (try? reader.u8(at: 5)).map(Self.window)
    }

    /// Section 3.1.1.1.2.
    private static func window(_ descriptor: UInt8) -> UInt64 {
      let base = UInt64(1) << (10 + UInt64(descriptor >> 3))
      return base + base / 8 * UInt64(descriptor & 7)
    }
  }
}

/// The table at the end of a file in the seekable format: a skippable frame that says how long each
/// frame is.
struct ZstandardSeekTable {
  private static let footerSize: UInt64 = 9
  private static let footerMagic: UInt32 = 0x8f92_eab1
  private static let frameMagic: UInt32 = 0x184d_2a5e

  let points: [EntryPoint]
  /// In decoded bytes.
  let size: UInt64
  let frames: Int

  /// Nil where there is none, or it does not fit the file: then the frames themselves are looked at.
  init?(of source: any Storage) throws(DiskError) {
    guard source.size >= Self.footerSize + 8 else { return nil }
    let footer = try source.reader(
      at: FileOffset(source.size - Self.footerSize), count: Int(Self.footerSize))
    let descriptor = try footer.u8(at: 4)
    // Bit 7: a checksum in each entry; bits 2 to 6 are reserved.
    guard try footer.u32(at: 5) == Self.footerMagic, descriptor & 0x7c == 0 else { return nil }
    let count = Int(try footer.u32(at: 0))
    let width = descriptor & 0x80 == 0 ? 8 : 12
    let tableSize = UInt64(count) * UInt64(width)
    let whole = 8 + tableSize + Self.footerSize
    guard count > 0, whole <= source.size, tableSize <= UInt64(Limits.largestMetadataRead) else {
      return nil
    }
    let start = source.size - whole
    let table = try source.reader(at: FileOffset(start), count: Int(8 + tableSize))
    guard try table.u32(at: 0) == Self.frameMagic,
      try UInt64(table.u32(at: 4)) == tableSize + Self.footerSize
    else { return nil }
    var points = [EntryPoint(decoded: 0, stored: 0)]
    var (stored, decoded): (UInt64, UInt64) = (0, 0)
    for index in 0..<count {
      if decoded - points[points.count - 1].decoded >= ZstandardFrames.segment {
        points.append(EntryPoint(decoded: decoded, stored: stored))
      }
      stored += UInt64(try table.u32(at: 8 + index * width))
      decoded += UInt64(try table.u32(at: 8 + index * width + 4))
    }
    guard stored == start, decoded > 0 else { return nil }
    self.points = points
    size = decoded
    frames = count
  }
}
