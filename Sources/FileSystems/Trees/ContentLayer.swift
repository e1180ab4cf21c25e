internal import DiskCore

/// A file's content as a layer, so that the engine reads files as it reads disks.
final class ContentLayer: ImageLayer {
  private let content: any FileContent
  private let volume: Volume

  init(_ content: any FileContent, of volume: Volume) {
    self.content = content
    self.volume = volume
  }

  var size: UInt64 { content.size }
  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { volume.storage.parts }
  var description: LayerDescription { LayerDescription(format: "file") }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    try content.extent(at: offset, limit: limit)
  }
}
