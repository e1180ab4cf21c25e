internal import DiskCore
internal import ImageFormats

/// The disk that a mount shows, with what takes its writes.
struct WritableDisk: Sendable {
  let disk: Disk
  /// The file that the changes are kept in, where that is not the image itself.
  let overlay: String?
  /// What to know about where the changes go.
  let notes: [String]
  private let close: @Sendable () throws(DiskError) -> Void

  /// - Throws: `busy` where another program uses the image in a way that does not go together with
  ///   ours; what keeps the image from being written to.
  init(_ image: OpenImage, request: MountRequest) throws(DiskError) {
    notes = []
    switch request.changes {
    case .refused:
      try Self.lock(image.disk.files, request.sharesImage ? .readShared : .read)
      disk = image.disk
      overlay = nil
      close = {}
    case .inPlace:
      try Self.lock(image.disk.files, .write)
      let layer = try InPlaceLayer(image.disk.layers)
      disk = try Disk(layers: [layer])
      overlay = nil
      close = {}
    }
  }

  private static func lock(_ files: [any Storage], _ use: ImageLock.Use) throws(DiskError) {
    for case let file as FileStorage in files {
      try ImageLock.take(use, on: file.descriptorNumber, path: file.path)
    }
  }

  /// Returns when all that was written is on the disk.
  func finish() throws(DiskError) {
    try disk.flush()
    try close()
  }
}
