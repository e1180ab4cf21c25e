internal import DiskCore

/// A redolog: a catalog says where each extent is, and each extent starts with a bitmap of the sectors
/// that were written (Bochs's iodev/hdimage/hdimage.cc, `redolog_t::read`).
final class BochsRedolog: ImageLayer {
  private static let unallocated: UInt32 = 0xffff_ffff

  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  private let catalog: PagedTable<UInt32>
  private let bitmaps: TablePages<UInt8>
  private let extentSize: UInt64
  /// In bytes, rounded up to sectors.
  private let bitmapRoom: UInt64
  /// Where the catalog ends and extent 0 starts.
  private let dataOffset: UInt64
  private let hasParent: Bool

  /// - Throws: `truncated` where the catalog does not lie within the file.
  init(
    _ source: any Storage, header: BochsHeader, description: LayerDescription
  ) throws(DiskError) {
    let start = FileOffset(UInt64(BochsHeader.byteCount))
    dataOffset = start.bytes + 4 * UInt64(header.catalogEntries)
    guard dataOffset <= source.size else {
      throw DiskError(
        .truncated,
        "a catalog of \(header.catalogEntries) entries reaches past the end of the file",
        path: source.path, offset: start.bytes)
    }
    catalog = try PagedTable(in: source, at: start, count: Int(header.neededExtents), .little)
    bitmaps = TablePages(in: source, entriesPerTable: Int(header.bitmapSize), .little)
    size = header.diskSize
    extentSize = UInt64(header.extentSize)
    bitmapRoom = (UInt64(header.bitmapSize) + 511) / 512 * 512
    hasParent = header.subtype != .growing
    self.source = source
    self.description = description
  }

  /// The catalog, and the bitmaps of as many extents as the file has room for.
  var tableBytes: UInt64 {
    let stored = (source.size - dataOffset) / (bitmapRoom + extentSize)
    return catalog.byteCount + min(stored, UInt64(catalog.count)) * bitmapRoom
  }

  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = Int(offset.bytes / extentSize)
    let within = offset.bytes % extentSize
    let page = try catalog.page(holding: index)
    let entry = page.entries[index - page.first]
    guard entry != Self.unallocated else {
      let wanted = Int(min(limit / extentSize + 2, UInt64(page.entries.count)))
      let run = page.run(from: index, step: 0, most: wanted)
      return Extent(nothing(offset), length: UInt64(run) * extentSize - within)
    }
    // At most 2³² extents of 2²⁸ + 2²⁰ bytes.
    let bitmap = dataOffset + UInt64(entry) * (bitmapRoom + extentSize)
    let data = bitmap + bitmapRoom
    guard data <= source.size else {
      return unreadable("an extent lies past the end of the file", at: bitmap, extentSize - within)
    }
    let (isWritten, sectors) = try run(
      in: FileOffset(bitmap), from: Int(within / 512), limit: limit / 512 + 2)
    let length = UInt64(sectors) * 512 - within % 512
    guard isWritten else { return Extent(nothing(offset), length: length) }
    let place = data + within
    guard place < source.size else {
      return unreadable("a sector lies past the end of the file", at: place, length)
    }
    return Extent(
      .stored(source, at: FileOffset(place)), length: min(length, source.size - place))
  }

  private func nothing(_ offset: DiskOffset) -> Extent.Place {
    hasParent ? .below(offset) : .zero
  }

  private func unreadable(_ message: String, at place: UInt64, _ length: UInt64) -> Extent {
    Extent(
      .unreadable(DiskError(.truncated, message, path: source.path, offset: place)),
      length: length)
  }

  /// Whether sector `first` of an extent was written, and how many from it on are alike, as far as the
  /// extent, the bitmap's page and `limit` reach. The first sector is the lowest bit.
  private func run(
    in bitmap: FileOffset, from first: Int, limit: UInt64
  ) throws(DiskError) -> (isWritten: Bool, sectors: Int) {
    let page = try bitmaps.page(ofTableAt: bitmap, holding: first / 8)
    func bit(_ sector: Int) -> Bool {
      page.entries[sector / 8 - page.first] >> UInt8(sector % 8) & 1 != 0
    }
    let isWritten = bit(first)
    let alike: UInt8 = isWritten ? 0xff : 0
    let pageEnd = (page.first + page.entries.count) * 8
    let end = min(
      Int(extentSize / 512), pageEnd, first + Int(min(limit, extentSize / 512)))
    var sector = first + 1
    while sector < end {
      if sector % 8 == 0, page.entries[sector / 8 - page.first] == alike {
        sector += 8
      } else if bit(sector) == isWritten {
        sector += 1
      } else {
        break
      }
    }
    return (isWritten, min(sector, end) - first)
  }
}
