internal import DiskCore

/// A VHDX's disk: blocks wherever the block allocation table says ([MS-VHDX] 2.4, 2.5).
///
/// The table has an entry for each block and, behind the entries of each chunk of 2²³ sectors, one
/// for the block that holds the bitmap of these sectors. Only differencing disks have such blocks.
final class VHDXImage: ChecksummedLayer {
  /// What reading a block comes to. The specification leaves open what blocks hold that are
  /// undefined or unmapped; zeros are right for both.
  private enum Kind {
    case zero, below, here, partly, invalid
  }

  /// Of a bitmap block, in bytes: one bit for each sector of a chunk.
  private static let bitmapBytes: UInt64 = 1 << 20
  private static let sectorsPerChunk: UInt64 = 1 << 23
  /// The state of a bitmap's entry, SB_BLOCK_PRESENT.
  private static let bitmapPresent: UInt64 = 6

  let size: UInt64
  let description: LayerDescription
  let checksums: [RecordedChecksum]
  private let source: any Storage
  private let table: PagedTable<UInt64>
  /// Nil for a disk without a parent.
  private let bitmaps: TablePages<UInt64>?
  private let blockSize: UInt64
  private let blockCount: Int
  private let sectorSize: UInt64
  /// How many blocks a chunk has.
  private let chunkRatio: Int
  /// The parts of the file that hold the format's own structures, where no block can be.
  private let structures: [Range<UInt64>]

  /// - Throws: `malformed` where the table cannot hold the disk's size, `truncated` where it does
  ///   not lie within the file.
  init(
    _ source: any Storage, regions: VHDXRegions, metadata: VHDXMetadata,
    description: LayerDescription, checksums: [RecordedChecksum] = []
  ) throws(DiskError) {
    self.source = source
    self.description = description
    self.checksums = checksums
    size = metadata.size
    blockSize = metadata.blockSize
    sectorSize = UInt64(metadata.sectorSize)
    // At most 2²⁶: 64 TiB in blocks of 1 MiB.
    blockCount = Int((size + blockSize - 1) / blockSize)
    chunkRatio = Int(Self.sectorsPerChunk * sectorSize / blockSize)
    let chunks = (blockCount + chunkRatio - 1) / chunkRatio
    let entries =
      metadata.hasParent
      ? chunks * (chunkRatio + 1) : blockCount + max(0, blockCount - 1) / chunkRatio
    let room = regions.blockTable.count / 8
    guard entries <= room else {
      throw DiskError(
        .malformed,
        "a disk of \(size) bytes needs \(entries) table entries, but the block table has \(room)",
        path: source.path, offset: regions.blockTable.lowerBound)
    }
    table = try PagedTable(
      in: source, at: FileOffset(regions.blockTable.lowerBound), count: entries, .little)
    bitmaps =
      metadata.hasParent
      ? TablePages(in: source, entriesPerTable: Int(Self.bitmapBytes / 8), .little) : nil
    structures = [0..<VHDXHeader.unit] + regions.all
  }

  var tableBytes: UInt64 {
    table.byteCount + (bitmaps == nil ? 0 : size / sectorSize / 8)
  }

  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let block = Int(offset.bytes / blockSize)
    let within = offset.bytes % blockSize
    let index = entryIndex(of: block)
    let page = try table.page(holding: index)
    let entry = page.entries[index - page.first]
    let rest = blockSize - within
    let kind = kind(of: entry)
    switch kind {
    case .zero, .below:
      let length = run(of: kind, from: block, in: page, limit) * blockSize - within
      return Extent(kind == .zero ? .zero : .below(offset), length: length)
    case .here, .partly:
      if let error = fault(inBlockAt: place(of: entry), count: blockSize) {
        return Extent(.unreadable(error), length: rest)
      }
      if kind == .partly { return sectors(of: block, entry, at: offset, limit) }
      let length = run(of: kind, from: block, in: page, limit) * blockSize - within
      return data(at: place(of: entry) + within, length: length)
    case .invalid:
      return Extent(
        .unreadable(
          DiskError(
            .malformed, "block \(block) has the state \(entry & 7), which it cannot have",
            path: source.path, offset: table.place(of: index).bytes)), length: rest)
    }
  }

  /// Bitmaps' entries stand between those of the chunks.
  private func entryIndex(of block: Int) -> Int { block + block / chunkRatio }

  /// Where in the file an entry's block is: in bytes, a multiple of 1 MiB.
  private func place(of entry: UInt64) -> UInt64 { (entry >> 20) << 20 }

  private func kind(of entry: UInt64) -> Kind {
    switch entry & 7 {
    case 0: bitmaps == nil ? .zero : .below
    case 1, 2, 3: .zero
    case 6: .here
    case 7: bitmaps == nil ? .invalid : .partly
    default: .invalid
    }
  }

  /// How many blocks from `block` on, which is of `kind`, are one piece: as far as the page and the
  /// caller's interest reach, and where they are stored, as they follow each other in the file.
  private func run(
    of kind: Kind, from block: Int, in page: PagedTable<UInt64>.Page, _ limit: UInt64
  ) -> UInt64 {
    let first = page.entries[entryIndex(of: block) - page.first]
    let wanted = Int(min(limit / blockSize + 2, UInt64(blockCount - block)))
    var count = 1
    while count < wanted {
      let index = entryIndex(of: block + count) - page.first
      guard index < page.entries.count else { break }
      let entry = page.entries[index]
      guard self.kind(of: entry) == kind else { break }
      if kind == .here {
        // The first block is inside the file, so the sum is far from overflowing.
        let next = place(of: first) + UInt64(count) * blockSize
        guard place(of: entry) == next, fault(inBlockAt: next, count: blockSize) == nil else {
          break
        }
      }
      count += 1
    }
    return UInt64(count)
  }

  /// Why there can be no block at `place`; nil where there can.
  private func fault(inBlockAt place: UInt64, count: UInt64) -> DiskError? {
    guard place < source.size else {
      return DiskError(
        .truncated, "a block lies past the end of the file", path: source.path, offset: place)
    }
    let block = place..<place + count
    if structures.contains(where: { $0.overlaps(block) }) {
      return DiskError(
        .malformed, "a block lies on the image's own headers, log or tables", path: source.path,
        offset: place)
    }
    return nil
  }

  /// What the sector at `offset`, in a block that is partly the parent's, and those like it behind it
  /// come to.
  private func sectors(
    of block: Int, _ entry: UInt64, at offset: DiskOffset, _ limit: UInt64
  ) -> Extent {
    let within = offset.bytes % blockSize
    let rest = blockSize - within
    let sectorsPerBlock = Int(blockSize / sectorSize)
    let first = Int(within / sectorSize)
    do throws(DiskError) {
      let inChunk = block % chunkRatio * sectorsPerBlock + first
      let bits = try bitmap(ofChunk: block / chunkRatio, holding: inChunk)
      let wanted = Int((min(rest, limit) + 2 * sectorSize - 1) / sectorSize)
      let run = SectorBitmap.run(
        in: bits, from: inChunk, limit: min(wanted, sectorsPerBlock - first), .bottom)
      let length = UInt64(first + run.sectors) * sectorSize - within
      return run.isSet
        ? data(at: place(of: entry) + within, length: length)
        : Extent(.below(offset), length: length)
    } catch {
      return Extent(.unreadable(error), length: rest)
    }
  }

  private func bitmap(
    ofChunk chunk: Int, holding sector: Int
  ) throws(DiskError) -> TablePages<UInt64>.Page {
    let index = chunk * (chunkRatio + 1) + chunkRatio
    let entry = try table.entry(index)
    guard let bitmaps, entry & 7 == Self.bitmapPresent else {
      throw DiskError(
        .malformed, "a block is partly the parent's, but its sector bitmap is missing",
        path: source.path, offset: table.place(of: index).bytes)
    }
    if let error = fault(inBlockAt: place(of: entry), count: Self.bitmapBytes) { throw error }
    return try bitmaps.page(
      ofTableAt: FileOffset(place(of: entry)), holding: sector / SectorBitmap.sectorsPerWord)
  }

  /// `length` bytes of blocks that are at `place` in the file.
  private func data(at place: UInt64, length: UInt64) -> Extent {
    guard place < source.size else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "a block lies past the end of the file", path: source.path,
            offset: place)), length: length)
    }
    return Extent(
      .stored(source, at: FileOffset(place)), length: min(length, source.size - place))
  }
}
