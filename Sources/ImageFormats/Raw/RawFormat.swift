public import DiskCore

/// A flat image: the file is the disk, byte for byte. ISO, floppy and hard-disk dumps, block-device
/// nodes, and split images once their parts are in a row.
public struct RawFormat: ImageFormat {
  public var name: String { "raw" }
  public var aliases: [String] { ["flat", "iso", "img"] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool { true }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    ParsedImage(RawImage(source))
  }
}

final class RawImage: ImageLayer {
  let source: any Storage

  init(_ source: any Storage) { self.source = source }

  var size: UInt64 { source.size }
  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    Extent(.stored(source, at: FileOffset(offset.bytes)), length: size - offset.bytes)
  }

  var description: LayerDescription {
    guard files.count > 1 else { return LayerDescription(format: "raw") }
    return LayerDescription(
      format: "raw", subformat: "split", details: [("parts", "\(files.count)")])
  }
}
