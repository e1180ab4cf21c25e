public import DiskCore

/// Compressed loop images as Knoppix made them. Sources: cloop's cloop.h, QEMU's block/cloop.c.
public struct CloopFormat: ImageFormat {
  public var name: String { "cloop" }
  public var aliases: [String] { [] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches("#!/bin/sh\n#V2.0 Format\n", at: 0)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    ParsedImage(CloopImage(try CloopBlocks(source)))
  }
}

final class CloopImage: ImageLayer {
  private let blocks: CloopBlocks

  init(_ blocks: CloopBlocks) { self.blocks = blocks }

  /// At most 2³² blocks of 2²³ bytes.
  var size: UInt64 { UInt64(blocks.count) * UInt64(blocks.blockSize) }
  var tableBytes: UInt64 { blocks.tableBytes }
  var files: [any Storage] { blocks.source.parts }

  var description: LayerDescription {
    LayerDescription(
      format: "cloop", subformat: "V2.0", details: [("block size", "\(blocks.blockSize)")])
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = offset.bytes / UInt64(blocks.blockSize)
    let within = offset.bytes % UInt64(blocks.blockSize)
    let length = UInt64(blocks.blockSize) - within
    do throws(DiskError) {
      _ = try blocks.place(of: Int(index))
    } catch {
      return Extent(.unreadable(error), length: length)
    }
    return Extent(.encoded(blocks, index: index, at: Int(within)), length: length)
  }
}
