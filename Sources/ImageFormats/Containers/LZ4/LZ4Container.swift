internal import Decoders
internal import DiskCore

/// LZ4 files: frames, and the legacy frames of `lz4 -l` and of kernels. Source: lz4_Frame_format.md 1.6.3.
struct LZ4Container: ContainerFormat {
  var name: String { "lz4" }

  func fits(_ head: ByteReader) -> Bool {
    switch try? head.u32(at: 0) {
    case LZ4Frame.legacyMagic: true
    case LZ4Frame.magic:
      (try? head.u8(at: 4)).flatMap { flags in
        (try? head.u8(at: 5)).flatMap { LZ4Frame(flags: flags, descriptor: $0) }
      } != nil
    default: false
    }
  }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    ContainedStream(
      LZ4Codec(source: source), EntryPoints(), size: try LZ4Walk.size(of: source))
  }
}

/// Entry points are where frames and blocks begin. The detail is 0 at a frame's start; inside one it is
/// `insideFrame` and the frame's flags and descriptor, or `insideLegacy`.
struct LZ4Codec: StreamCodec {
  static let insideFrame: UInt64 = 1 << 16
  static let insideLegacy: UInt64 = 2 << 16

  let source: any Storage

  /// liblz4's buffers for blocks of 4 MiB.
  var cursorMemory: Int { 9 << 20 }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    try LZ4Cursor(source, at: point, points, findings)
  }
}

/// How large a file's frames are, by the headers of frames and blocks.
enum LZ4Walk {
  /// How many blocks are passed at most: each costs a read.
  private static let mostBlocks = 1 << 18

  /// Likely only: a frame's blocks can be shorter than its header says, though no program that writes
  /// files makes such. Unknown for what takes too long, or is damaged.
  static func size(of source: any Storage) throws(DiskError) -> ExpectedSize {
    var input = StoredInput(source, at: 0)
    var size: UInt64 = 0
    var blocks = 0
    var isExact = true
    while true {
      let bytes = ByteReader(Array(try input.peek(LZ4Frame.longestHeader)))
      guard let magic = try? bytes.u32(at: 0) else { break }
      if LZ4Frame.isSkippable(magic), let length = try? bytes.u32(at: 4) {
        blocks += 1
        input.skip(8 + UInt64(length))
      } else if magic == LZ4Frame.magic, let flags = try? bytes.u8(at: 4),
        let descriptor = try? bytes.u8(at: 5),
        let frame = LZ4Frame(flags: flags, descriptor: descriptor)
      {
        let length = try length(of: frame, in: &input, &blocks)
        guard let length else { return .unknown }
        if frame.hasContentSize, let content = try? bytes.u64(at: 6) {
          guard content <= Limits.largestDisk - size else { return .unknown }
          size += content
        } else {
          isExact = false
          size += length
        }
      } else {
        // Legacy frames do not say where they end but by the end of the file.
        guard magic != LZ4Frame.legacyMagic else { return .unknown }
        break
      }
      guard blocks <= mostBlocks, size <= Limits.largestDisk else { return .unknown }
    }
    return isExact ? .exact(size) : .likely(size)
  }

  /// How long the frame is that comes next, if all blocks but its last are full; goes past it.
  private static func length(
    of frame: LZ4Frame, in input: inout StoredInput, _ blocks: inout Int
  ) throws(DiskError) -> UInt64? {
    input.skip(UInt64(frame.headerSize))
    var size: UInt64 = 0
    var last: (place: UInt64, field: UInt32)?
    while blocks <= mostBlocks {
      blocks += 1
      guard let field = try? ByteReader(Array(input.peek(4))).u32(at: 0) else { return nil }
      let place = input.place + 4
      if field == 0 {
        input.skip(4 + UInt64(frame.contentChecksumSize))
        guard let last else { return 0 }
        let count = Int(last.field & 0x7fff_ffff)
        guard last.field >> 31 == 0 else { return size + UInt64(count) }
        let block = try input.storage.bytes(at: FileOffset(last.place), count: count)
        return LZ4Block.decodedSize(of: block).map { size + UInt64($0) }
      }
      guard field & 0x7fff_ffff <= UInt32(frame.largestBlock) else { return nil }
      if last != nil { size += UInt64(frame.largestBlock) }
      last = (place, field)
      input.skip(4 + UInt64(field & 0x7fff_ffff) + UInt64(frame.blockChecksumSize))
    }
    return nil
  }
}
