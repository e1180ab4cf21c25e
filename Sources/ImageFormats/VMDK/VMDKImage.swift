internal import DiskCore

/// A disk as its descriptor describes it: extents in a row.
final class VMDKImage: ImageLayer {
  let description: LayerDescription
  /// The image first, which may be a descriptor without data of its own, then each extent's file once.
  let files: [any Storage]
  private let row: LayerRow

  init(
    _ source: any Storage, _ row: LayerRow, description: LayerDescription
  ) {
    var seen: Set<ObjectIdentifier> = []
    files = (source.parts + row.files).filter { seen.insert(ObjectIdentifier($0)).inserted }
    self.row = row
    self.description = description
  }

  var size: UInt64 { row.size }
  var tableBytes: UInt64 { row.tableBytes }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    try row.extent(at: offset, limit: limit)
  }
}
