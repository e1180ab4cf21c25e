internal import DiskCore

/// An extent that is a part of its file, byte for byte (Virtual Disk Format 5.0, "Simple Extents").
final class VMDKFlatExtent: ImageLayer {
  let size: UInt64
  let description = LayerDescription(format: "vmdk")
  private let source: any Storage
  private let start: UInt64

  /// - Parameters:
  ///   - start: where it starts in the file, at most `Limits.largestDisk`, as `size`.
  init(_ source: any Storage, at start: UInt64, size: UInt64) {
    self.source = source
    self.start = start
    self.size = size
  }

  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { source.parts }

  /// How many bytes of it the file has.
  var storedBytes: UInt64 { min(size, source.size - min(start, source.size)) }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let stored = storedBytes
    guard offset.bytes < stored else {
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "the file is shorter than the extent that the descriptor describes",
            path: source.path, offset: start + offset.bytes)), length: size - offset.bytes)
    }
    return Extent(
      .stored(source, at: FileOffset(start + offset.bytes)), length: stored - offset.bytes)
  }
}

/// An extent without a file: zeros, or bytes that may not be read.
final class VMDKFilelessExtent: ImageLayer {
  let size: UInt64
  let description = LayerDescription(format: "vmdk")
  /// The descriptor that says so.
  let files: [any Storage]
  private let place: Extent.Place

  init(_ place: Extent.Place, size: UInt64, saidBy source: any Storage) {
    self.place = place
    self.size = size
    files = source.parts
  }

  var tableBytes: UInt64 { 0 }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    Extent(place, length: size - offset.bytes)
  }
}
