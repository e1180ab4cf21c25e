internal import DiskCore

/// A VHD that is a flat image with a footer behind it.
final class VHDFixedImage: ChecksummedLayer {
  let size: UInt64
  let description: LayerDescription
  private let source: any Storage
  /// Where the footer starts.
  private let dataEnd: UInt64

  init(
    _ source: any Storage, footer: VHDFooter, dataEnd: FileOffset, description: LayerDescription
  ) {
    size = footer.currentSize
    self.dataEnd = dataEnd.bytes
    self.source = source
    self.description = description
  }

  var checksums: [RecordedChecksum] {
    [VHDChecksum.ofFooter(in: source, at: dataEnd..<source.size, name: "footer at the end")]
  }

  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { source.parts }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    guard offset.bytes < dataEnd else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "the file is shorter than the disk its footer describes",
            path: source.path, offset: offset.bytes)), length: size - offset.bytes)
    }
    return Extent(
      .stored(source, at: FileOffset(offset.bytes)), length: min(size, dataEnd) - offset.bytes)
  }
}
