internal import DiskCore

/// A VDI of any type: a map says for each block where it is stored, also in fixed images (VirtualBox's
/// VDICore.h, `VDIIMAGEBLOCKPOINTER`).
///
/// Two entries may name one block: both then read the same bytes, which is what VirtualBox and QEMU
/// show, though no program writes such a map.
final class VDIImage: ImageLayer {
  /// `VDI_IMAGE_BLOCK_FREE`: never written.
  private static let free: UInt32 = 0xffff_ffff
  /// `VDI_IMAGE_BLOCK_ZERO`: discarded, or written with zeros; hides what the parent has.
  private static let zero: UInt32 = 0xffff_fffe

  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  private let map: PagedTable<UInt32>
  private let blockSize: UInt64
  private let blockExtra: UInt64
  /// Behind the header and the map, so that no block can lie on them.
  private let dataOffset: UInt64
  private let hasParent: Bool

  /// - Throws: `truncated` where the map does not lie within the file.
  init(
    _ source: any Storage, header: VDIHeader, description: LayerDescription
  ) throws(DiskError) {
    map = try PagedTable(in: source, at: header.mapOffset, count: header.neededBlocks, .little)
    size = header.diskSize
    self.source = source
    self.description = description
    blockSize = UInt64(header.blockSize)
    blockExtra = UInt64(header.blockExtra)
    dataOffset = header.dataOffset.bytes
    hasParent = header.hasParent
  }

  var tableBytes: UInt64 { map.byteCount }
  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let block = Int(offset.bytes / blockSize)
    let within = offset.bytes % blockSize
    let page = try map.page(holding: block)
    let entry = page.entries[block - page.first]
    let wanted = Int(min(limit / blockSize + 2, UInt64(page.entries.count)))
    guard entry < Self.zero else {
      let run = page.run(from: block, step: 0, most: wanted)
      let length = UInt64(run) * blockSize - within
      let isBelow = entry == Self.free && hasParent
      return Extent(isBelow ? .below(offset) : .zero, length: length)
    }
    // At most 2³² blocks of 2²⁸ + 2²⁰ bytes.
    let place = dataOffset + UInt64(entry) * (blockExtra + blockSize) + blockExtra + within
    guard place < source.size else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "block \(block) of the disk lies past the end of the file",
            path: source.path, offset: place)), length: blockSize - within)
    }
    // The numbers from `zero` on are no blocks.
    let most = blockExtra == 0 ? min(wanted, Int(Self.zero - entry)) : 1
    let run = page.run(from: block, step: 1, most: most)
    return Extent(
      .stored(source, at: FileOffset(place)),
      length: min(UInt64(run) * blockSize - within, source.size - place))
  }
}
