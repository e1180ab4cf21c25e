internal import DiskCore

/// A VHD whose blocks are allocated as they are first written (VHD specification 1.0, "Block
/// Allocation Table and Data Blocks").
///
/// Each block is stored as a bitmap of its sectors, padded to a sector, and then its data. In a
/// differencing disk a sector whose bit is clear is the parent's. In a disk without a parent the
/// bitmap is not read: a sector that was never written holds zeros, which is what it reads as.
final class VHDDynamicImage: ChecksummedLayer {
  private static let unallocated: UInt32 = 0xffff_ffff
  private static let sector: UInt64 = 512

  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  private let table: PagedTable<UInt32>
  private let blockSize: UInt64
  private let bitmapBytes: UInt64
  /// Nil for a disk without a parent.
  private let bitmaps: TablePages<UInt64>?
  /// Where the footer starts, or the file ends without one.
  private let dataEnd: UInt64
  /// Where the dynamic disk header is.
  private let headerOffset: FileOffset
  /// The parts of the file that hold the format's own structures, where no block can be.
  private let structures: [Range<UInt64>]

  /// - Throws: `malformed` where the table cannot hold the disk's size, `truncated` where it does
  ///   not lie within the file.
  init(
    _ source: any Storage, footer: VHDFooter, header: VHDDynamicHeader, dataEnd: FileOffset,
    description: LayerDescription
  ) throws(DiskError) {
    let blockSize = UInt64(header.blockSize)
    let needed = (footer.currentSize + blockSize - 1) / blockSize
    guard needed <= UInt64(header.maxTableEntries) else {
      throw DiskError(
        .malformed,
        "a disk of \(footer.currentSize) bytes needs \(needed) blocks, but the block "
          + "table has \(header.maxTableEntries)", path: source.path,
        offset: footer.dataOffset.bytes)
    }
    table = try PagedTable(in: source, at: header.tableOffset, count: Int(needed), .big)
    size = footer.currentSize
    self.source = source
    self.dataEnd = dataEnd.bytes
    headerOffset = footer.dataOffset
    self.blockSize = blockSize
    self.description = description
    // One bit a sector, padded to whole sectors of 4,096 bits.
    bitmapBytes = (blockSize / 512 + 4095) / 4096 * 512
    bitmaps =
      footer.type == .differencing
      ? TablePages(in: source, entriesPerTable: Int(bitmapBytes / 8), .big) : nil
    let headerEnd = footer.dataOffset + UInt64(VHDDynamicHeader.byteCount)
    structures = [
      0..<UInt64(VHDFooter.byteCount), footer.dataOffset.bytes..<headerEnd.bytes,
      header.tableOffset.bytes..<(header.tableOffset + table.byteCount).bytes,
    ]
  }

  var checksums: [RecordedChecksum] {
    let footerBytes = UInt64(VHDFooter.byteCount)
    // Where it is missing, that is what is wrong with the last bytes.
    let end = dataEnd < source.size ? dataEnd : source.size - min(source.size, footerBytes)
    let header = headerOffset.bytes..<headerOffset.bytes + UInt64(VHDDynamicHeader.byteCount)
    return [
      VHDChecksum.ofFooter(in: source, at: end..<source.size, name: "footer at the end"),
      VHDChecksum.ofFooter(in: source, at: 0..<footerBytes, name: "its copy at the start"),
      RecordedChecksum(
        "dynamic header checksum", name: "", of: source, at: header, field: 36, fieldIs: [], .big,
        by: { VHDSum() }),
    ]
  }

  var tableBytes: UInt64 {
    table.byteCount + (bitmaps == nil ? 0 : UInt64(table.count) * bitmapBytes)
  }
  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let block = Int(offset.bytes / blockSize)
    let within = offset.bytes % blockSize
    let page = try table.page(holding: block)
    let entry = page.entries[block - page.first]
    guard entry != Self.unallocated else {
      let wanted = Int(min(limit / blockSize + 2, UInt64(page.entries.count)))
      let run = UInt64(page.run(from: block, step: 0, most: wanted))
      return Extent(bitmaps == nil ? .zero : .below(offset), length: run * blockSize - within)
    }
    let blockStart = UInt64(entry) * 512
    let dataStart = blockStart + bitmapBytes
    let rest = blockSize - within
    let stored = blockStart..<dataStart + blockSize
    if structures.contains(where: { $0.overlaps(stored) }) {
      return Extent(
        .unreadable(
          DiskError(
            .malformed, "a block lies on the image's own header or table", path: source.path,
            offset: blockStart)), length: rest)
    }
    guard let bitmaps else { return data(at: dataStart + within, length: rest) }
    do throws(DiskError) {
      let sector = Int(within / Self.sector)
      let bits = try bitmaps.page(
        ofTableAt: FileOffset(blockStart), holding: sector / SectorBitmap.sectorsPerWord)
      let wanted = Int((min(rest, limit) + 2 * Self.sector - 1) / Self.sector)
      let run = SectorBitmap.run(
        in: bits, from: sector, limit: min(wanted, Int(blockSize / Self.sector) - sector), .top)
      let length = UInt64(sector + run.sectors) * Self.sector - within
      return run.isSet
        ? data(at: dataStart + within, length: length) : Extent(.below(offset), length: length)
    } catch {
      return Extent(.unreadable(error), length: rest)
    }
  }

  /// `length` bytes of a block's data that are at `place` in the file.
  private func data(at place: UInt64, length: UInt64) -> Extent {
    guard place < dataEnd else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "a block lies past the end of the file", path: source.path,
            offset: place)), length: length)
    }
    return Extent(.stored(source, at: FileOffset(place)), length: min(length, dataEnd - place))
  }
}
