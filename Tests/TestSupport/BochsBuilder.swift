/// A redolog laid out field by field from the structures in Bochs's hdimage.h, and apart from the code
/// under test.
public struct BochsBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public var subtype: String
  /// In bytes: the virtual disk's.
  public var size: UInt64
  /// 1 or 2.
  public var version = 2
  public var extentSize: UInt32 = 4096
  /// Nil: a bit for each sector of an extent.
  public var bitmapSize: UInt32?
  /// Nil: as many as the size needs.
  public var catalogEntries: UInt32?
  /// What was written, by the sector's number on the disk; 512 bytes each.
  public var sectors: [Int: [UInt8]] = [:]
  /// Extents in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  public var editHeader: Edit = { _ in }
  public var editCatalog: Edit = { _ in }

  public init(_ subtype: String = "Growing", size: UInt64) {
    self.subtype = subtype
    self.size = size
  }

  public var extents: [Int] { Set(sectors.keys.map { $0 * 512 / Int(extentSize) }).sorted() }

  private var needed: Int { Int((size + UInt64(extentSize) - 1) / UInt64(extentSize)) }

  public var bitmapRoom: Int {
    Int(((bitmapSize ?? max(1, extentSize / 512 / 8)) + 511) / 512 * 512)
  }

  /// Where the first extent's bitmap is.
  public var firstExtent: Int { 512 + 4 * Int(catalogEntries ?? UInt32(needed)) }

  public var file: BuiltFile {
    var catalog = ImageBytes([UInt8](repeating: 0xFF, count: firstExtent - 512))
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var place = firstExtent
    for (number, extent) in (order ?? extents).enumerated() {
      catalog.putLittle(UInt32(number), at: 4 * extent)
      var bitmap = [UInt8](repeating: 0, count: bitmapRoom)
      let perExtent = Int(extentSize) / 512
      for (sector, bytes) in sectors where sector / perExtent == extent {
        let within = sector % perExtent
        bitmap[within / 8] |= 1 << UInt8(within % 8)
        pieces.append((UInt64(place + bitmapRoom + 512 * within), bytes))
      }
      pieces.append((UInt64(place), bitmap))
      place += bitmapRoom + Int(extentSize)
    }
    editCatalog(&catalog)
    pieces += [(0, header.bytes), (512, catalog.bytes)]
    return BuiltFile(size: UInt64(place), pieces: pieces)
  }

  private var header: ImageBytes {
    var header = ImageBytes(count: 512)
    header.put("Bochs Virtual HD Image", at: 0)
    header.put("Redolog", at: 32)
    header.put(subtype, at: 48)
    header.putLittle(UInt32(version) << 16, at: 64)
    header.putLittle(512 as UInt32, at: 68)
    header.putLittle(catalogEntries ?? UInt32(needed), at: 72)
    header.putLittle(bitmapSize ?? max(1, extentSize / 512 / 8), at: 76)
    header.putLittle(extentSize, at: 80)
    header.putLittle(size, at: version == 1 ? 84 : 88)
    editHeader(&header)
    return header
  }

  /// What the virtual disk holds over `below`.
  public func content(over below: [UInt8] = []) -> [UInt8] {
    blockContent(size: Int(size), blockSize: 512, stored: sectors, below: below)
  }
}
