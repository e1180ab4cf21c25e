internal import DiskCore
internal import Glibc
internal import ImageFormats
internal import Overlays

/// The disk that a mount shows, with what takes its writes.
struct WritableDisk: Sendable {
  let disk: Disk
  /// The file that the changes are kept in, where that is not the image itself.
  let overlay: String?
  /// What keeps the changes, where that is not the image itself.
  let changes: Overlay?
  /// What to know about where the changes go.
  let notes: [String]
  /// Whether the changes outlive the mount.
  private let isKept: Bool
  /// Whether the file was made for this mount.
  private let isNew: Bool
  private let close: @Sendable () throws(DiskError) -> Void

  /// - Throws: `busy` where another program uses the image in a way that does not go together with
  ///   ours; what keeps the image from being written to.
  init(_ image: OpenImage, request: MountRequest) throws(DiskError) {
    let files = image.disk.files
    switch request.changes {
    case .refused:
      try Self.lock(files, request.sharesImage ? .readShared : .read)
      self.init(image.disk)
    case .inPlace:
      try Self.lock(files, .write)
      self.init(try Disk(layers: [InPlaceLayer(image.disk.layers)]))
    case .scratch:
      try Self.lock(files, .read)
      let (overlay, notes) = try OverlayFile.scratch(on: image)
      self.init(try Disk(overlay, over: image.disk), overlay, nil, notes, isKept: false)
    case .overlay(let path):
      try Self.lock(files, .read)
      let (overlay, isNew, notes) = try OverlayFile.open(
        path, on: image, request.imageOptions, forcesBase: request.forcesBase)
      self.init(
        try Disk(overlay, over: image.disk), overlay, path, notes + overlay.description.notes,
        isNew: isNew
      ) { () throws(DiskError) in try overlay.close() }
    }
  }

  private init(
    _ disk: Disk, _ changes: Overlay? = nil, _ overlay: String? = nil, _ notes: [String] = [],
    isKept: Bool = true, isNew: Bool = false,
    close: @escaping @Sendable () throws(DiskError) -> Void = {}
  ) {
    self.disk = disk
    self.changes = changes
    self.overlay = overlay
    self.notes = notes
    self.isKept = isKept
    self.isNew = isNew
    self.close = close
  }

  private static func lock(_ files: [any Storage], _ use: ImageLock.Use) throws(DiskError) {
    for case let file as FileStorage in files.flatMap(\.parts) {
      try ImageLock.take(use, on: file.descriptorNumber, path: file.path)
    }
  }

  /// There will be no mount: nothing is left of what was made for it.
  func abandon() {
    if isNew, let overlay { unsafe unlink(overlay) }
  }

  /// Returns when all that was written is on the disk. Nothing may be written afterwards.
  func finish() throws(DiskError) {
    guard isKept else { return }
    try disk.flush()
    try close()
  }
}
