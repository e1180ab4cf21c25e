/// A VDI laid out field by field from the structures in VirtualBox's VDICore.h, and apart from the
/// code under test.
public struct VDIBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public enum ImageType: UInt32, Sendable {
    case dynamic = 1
    case fixed = 2
    case undo = 3
    case differencing = 4
  }

  public static let noUUID = [UInt8](repeating: 0, count: 16)

  public var type: ImageType
  /// In bytes: the virtual disk's.
  public var size: UInt64
  public var blockSize: UInt32 = 1 << 20
  public var blockExtra: UInt32 = 0
  /// By index, each up to a block long.
  public var blocks: [Int: [UInt8]] = [:]
  /// Indices of blocks that the map calls zero.
  public var zeroBlocks: Set<Int> = []
  /// The stored blocks in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  /// Nil: as many as the size needs.
  public var mapEntries: UInt32?
  public var mapOffset: UInt32 = 512
  /// Nil: behind the map, on a sector.
  public var dataOffset: UInt32?
  /// As they are stored: the first three groups are little-endian.
  public var uuid = [UInt8](0xA0...0xAF)
  public var modificationUUID = [UInt8](0xB0...0xBF)
  public var parentUUID = noUUID
  public var parentModificationUUID = noUUID
  public var comment = ""
  public var editHeader: Edit = { _ in }
  public var editMap: Edit = { _ in }

  public init(_ type: ImageType, size: UInt64) {
    self.type = type
    self.size = size
  }

  private var neededBlocks: Int { Int((size + UInt64(blockSize) - 1) / UInt64(blockSize)) }

  /// Where the first block's own bytes start.
  public var firstBlock: UInt64 {
    UInt64(dataOffset ?? (mapOffset + UInt32(4 * neededBlocks) + 511) / 512 * 512)
  }

  public var file: BuiltFile {
    let stride = UInt64(blockSize) + UInt64(blockExtra)
    var map = ImageBytes([UInt8](repeating: 0xFF, count: 4 * neededBlocks))
    for index in zeroBlocks { map.putLittle(0xFFFF_FFFE as UInt32, at: 4 * index) }
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    // A fixed image stores all its blocks, in order.
    let stored = type == .fixed ? Array(0..<neededBlocks) : order ?? blocks.keys.sorted()
    for (place, index) in stored.enumerated() {
      map.putLittle(UInt32(place), at: 4 * index)
      let start = firstBlock + UInt64(place) * stride
      pieces.append((start, [UInt8](repeating: 0xEE, count: Int(blockExtra))))
      if let block = blocks[index] { pieces.append((start + UInt64(blockExtra), block)) }
    }
    editMap(&map)
    pieces += [(0, header(stored.count).bytes), (UInt64(mapOffset), map.bytes)]
    return BuiltFile(size: firstBlock + UInt64(stored.count) * stride, pieces: pieces)
  }

  private func header(_ allocated: Int) -> ImageBytes {
    var header = ImageBytes(count: 72 + 400)
    header.put("<<< Oracle VM VirtualBox Disk Image >>>\n", at: 0)
    header.putLittle(0xBEDA_107F as UInt32, at: 64)
    header.putLittle(0x0001_0001 as UInt32, at: 68)
    header.putLittle(400 as UInt32, at: 72)
    header.putLittle(type.rawValue, at: 76)
    header.put(comment, at: 84)
    header.putLittle(mapOffset, at: 340)
    header.putLittle(UInt32(firstBlock), at: 344)
    header.putLittle(512 as UInt32, at: 360)
    header.putLittle(size, at: 368)
    header.putLittle(blockSize, at: 376)
    header.putLittle(blockExtra, at: 380)
    header.putLittle(mapEntries ?? UInt32(neededBlocks), at: 384)
    header.putLittle(UInt32(allocated), at: 388)
    header.put(uuid, at: 392)
    header.put(modificationUUID, at: 408)
    header.put(parentUUID, at: 424)
    header.put(parentModificationUUID, at: 440)
    header.putLittle(512 as UInt32, at: 468)
    editHeader(&header)
    return header
  }

  /// What the virtual disk holds over `below`.
  public func content(over below: [UInt8] = []) -> [UInt8] {
    var stored = blocks
    for index in zeroBlocks { stored[index] = [] }
    return blockContent(
      size: Int(size), blockSize: Int(blockSize), stored: stored, below: below)
  }
}
