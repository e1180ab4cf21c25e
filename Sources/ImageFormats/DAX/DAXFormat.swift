public import DiskCore

/// Compressed disc images of the PSP as Dark_AleX's DAX Creator made them. Source: its daxfile.h and what
/// it writes.
public struct DAXFormat: ImageFormat {
  public var name: String { "dax" }
  public var aliases: [String] { [] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    // Four bytes say little; the version is 0 or 1, and what is reserved "must be zero".
    sample.head.matches(DAXFrames.magic, at: 0) && sample.head.matches([0, 0, 0], at: 9)
      && sample.head.matches([UInt8](repeating: 0, count: 16), at: 16)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    ParsedImage(DAXImage(try DAXFrames(source)))
  }
}

final class DAXImage: ImageLayer {
  private let frames: DAXFrames

  init(_ frames: DAXFrames) { self.frames = frames }

  /// At most 4 GiB.
  var size: UInt64 { frames.size }
  var tableBytes: UInt64 { frames.tableBytes }
  var files: [any Storage] { frames.source.parts }

  var description: LayerDescription {
    LayerDescription(
      format: "dax", subformat: "v\(frames.version)",
      details: [
        ("block size", "\(DAXFrames.frameBytes)"), ("uncompressed areas", "\(frames.areaCount)"),
      ])
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let frame = offset.bytes / UInt64(DAXFrames.frameBytes)
    let within = offset.bytes % UInt64(DAXFrames.frameBytes)
    let length = UInt64(frames.contentBytes(of: frame)) - within
    let place: Range<UInt64>
    do throws(DiskError) {
      place = try frames.place(of: frame)
    } catch {
      return Extent(.unreadable(error), length: length)
    }
    guard frames.isPlain(frame) else {
      return Extent(.encoded(frames, index: frame, at: Int(within)), length: length)
    }
    return Extent(
      .stored(frames.source, at: FileOffset(place.lowerBound + within)), length: length)
  }
}
