internal import Decoders
internal import DiskCore

/// How large a file's frames are, by the headers of frames and blocks. What is between them is not read.
struct LZ4Walk {
  /// How many blocks are passed at most: each costs a read.
  private static let mostBlocks = 1 << 18
  /// How much is read at most of last blocks, which alone do not say how long they are, in bytes.
  private static let mostParsed = 64 << 20

  private let source: any Storage
  private var place: UInt64 = 0
  private var blocks = 0
  private var parsed = 0

  private init(_ source: any Storage) { self.source = source }

  /// Likely only: a frame's blocks can be shorter than its header says, though no program that writes
  /// files makes such. Unknown for what takes too long, or is damaged.
  static func size(of source: any Storage) throws(DiskError) -> ExpectedSize {
    var walk = LZ4Walk(source)
    return try walk.size()
  }

  private mutating func size() throws(DiskError) -> ExpectedSize {
    var size: UInt64 = 0
    var isExact = true
    while true {
      let bytes = try head(LZ4Frame.longestHeader)
      guard let magic = try? bytes.u32(at: 0) else { break }
      if LZ4Frame.isSkippable(magic), let length = try? bytes.u32(at: 4) {
        blocks += 1
        skip(8 + UInt64(length))
      } else if magic == LZ4Frame.magic, let flags = try? bytes.u8(at: 4),
        let descriptor = try? bytes.u8(at: 5),
        let frame = LZ4Frame(flags: flags, descriptor: descriptor)
      {
        let stated = frame.hasContentSize ? try? bytes.u64(at: 6) : nil
        guard let length = try length(of: frame, stated: stated),
          length <= Limits.largestDisk - size
        else { return .unknown }
        size += length
        if stated == nil { isExact = false }
      } else {
        // Legacy frames do not say where they end but by the end of the file.
        guard magic != LZ4Frame.legacyMagic else { return .unknown }
        break
      }
      guard blocks <= Self.mostBlocks else { return .unknown }
    }
    return isExact ? .exact(size) : .likely(size)
  }

  /// How long the frame is that comes next, as its header states or if all blocks but its last are full;
  /// goes past it. Nil where that cannot be found out.
  private mutating func length(
    of frame: LZ4Frame, stated: UInt64?
  ) throws(DiskError) -> UInt64? {
    skip(UInt64(frame.headerSize))
    var full: UInt64 = 0
    var last: (place: UInt64, field: UInt32)?
    while blocks <= Self.mostBlocks {
      blocks += 1
      guard let field = try? head(4).u32(at: 0) else { return nil }
      if field == 0 {
        skip(4 + UInt64(frame.contentChecksumSize))
        guard stated == nil, let last else { return stated ?? 0 }
        guard let rest = try length(ofBlock: last.field, at: last.place) else { return nil }
        return full + rest
      }
      guard field & 0x7fff_ffff <= UInt32(frame.largestBlock) else { return nil }
      if last != nil { full += UInt64(frame.largestBlock) }
      last = (place + 4, field)
      skip(4 + UInt64(field & 0x7fff_ffff) + UInt64(frame.blockChecksumSize))
    }
    return nil
  }

  private mutating func length(ofBlock field: UInt32, at place: UInt64) throws(DiskError) -> UInt64?
  {
    let count = Int(field & 0x7fff_ffff)
    guard field >> 31 == 0 else { return UInt64(count) }
    parsed += count
    guard parsed <= Self.mostParsed else { return nil }
    return LZ4Block.decodedSize(of: try source.bytes(at: FileOffset(place), count: count))
      .map { UInt64($0) }
  }

  /// The next `count` bytes; fewer at the end of the file.
  private func head(_ count: Int) throws(DiskError) -> ByteReader {
    try source.reader(at: FileOffset(place), count: Int(min(UInt64(count), source.size - place)))
  }

  /// At most to the end of the file.
  private mutating func skip(_ count: UInt64) { place += min(count, source.size - place) }
}
