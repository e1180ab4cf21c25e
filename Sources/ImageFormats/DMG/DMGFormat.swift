public import DiskCore

/// Apple's Universal Disk Image Format. Sources: libmodi's "Mac OS disk image types"; QEMU's block/dmg.c;
/// Inside Macintosh for the resource fork.
public struct DMGFormat: ImageFormat {
  public var name: String { "dmg" }
  public var aliases: [String] { ["udif"] }
  public var startsWithData: Bool { true }
  public var isKnownByEnd: Bool { true }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool { DMGTrailer.offset(in: sample) != nil }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    guard let offset = DMGTrailer.offset(in: try ImageSample(of: source)) else {
      throw DiskError(
        .malformed, "has no 'koly' trailer at its end or start: it was cut off, or is no DMG",
        path: source.path, offset: source.size - min(source.size, UInt64(DMGTrailer.byteCount)))
    }
    let trailer = try DMGTrailer(source, at: offset)
    var chunks: [DMGChunk] = []
    var tables: [DMGBlockTable] = []
    for table in try Self.tables(source, trailer) {
      tables.append(
        try DMGBlockTable(table, dataFork: trailer.dataFork.lowerBound, addingTo: &chunks))
    }
    if tables.isEmpty { chunks = Self.wholeDataFork(trailer) }
    return ParsedImage(DMGImage(source, trailer, tables, try DMGChunks(source, chunks)))
  }

  private static func tables(
    _ source: any Storage, _ trailer: DMGTrailer
  ) throws(DiskError) -> [DMGTableBytes] {
    if !trailer.propertyList.isEmpty {
      return try DMGPropertyList.tables(in: source, at: trailer.propertyList)
    }
    if !trailer.resourceFork.isEmpty {
      return try DMGResourceFork.tables(in: source, at: trailer.resourceFork)
    }
    return []
  }

  /// An image without tables ("UDIF stub") is its data fork.
  private static func wholeDataFork(_ trailer: DMGTrailer) -> [DMGChunk] {
    guard trailer.sectorCount > 0 else { return [] }
    return [
      DMGChunk(
        range: 0..<trailer.sectorCount * DMG.sectorBytes, type: DMGChunk.Kind.raw.rawValue,
        start: trailer.dataFork.lowerBound, length: UInt64(trailer.dataFork.count))
    ]
  }
}
