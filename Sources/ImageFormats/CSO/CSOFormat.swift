public import DiskCore

/// Compressed disc images of the PSP and PS2: CSO in both versions, and ZSO. Sources: maxcso's
/// README_CSO.md and README_ZSO.md.
public struct CSOFormat: ImageFormat {
  public var name: String { "cso" }
  public var aliases: [String] { ["ciso", "zso", "ziso"] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches(CSOHeader.magic, at: 0) || sample.head.matches(CSOHeader.zsoMagic, at: 0)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    ParsedImage(CSOImage(try CSOBlocks(source)))
  }
}

final class CSOImage: ImageLayer {
  private let blocks: CSOBlocks
  private var header: CSOHeader { blocks.header }

  init(_ blocks: CSOBlocks) { self.blocks = blocks }

  var size: UInt64 { header.size }
  var tableBytes: UInt64 { blocks.tableBytes }
  var files: [any Storage] { blocks.source.parts }

  var description: LayerDescription {
    LayerDescription(
      format: "cso", subformat: header.variant.rawValue,
      details: [("block size", "\(header.blockSize)")])
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let number = Int(offset.bytes / UInt64(header.blockSize))
    let within = offset.bytes % UInt64(header.blockSize)
    let length = UInt64(header.contentBytes(of: number)) - within
    do throws(DiskError) {
      let block = try blocks.block(number)
      if block.coding == .plain {
        return Extent(
          .stored(blocks.source, at: FileOffset(block.place.lowerBound + within)), length: length)
      }
    } catch {
      let others = UInt64(blocks.emptyBlocks(from: number) - 1) * UInt64(header.blockSize)
      return Extent(.unreadable(error), length: length + others)
    }
    return Extent(.encoded(blocks, index: UInt64(number), at: Int(within)), length: length)
  }
}
