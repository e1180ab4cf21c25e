public import DiskCore
public import ImageFormats

extension Overlay {
  /// Ties the overlay at `path` to an image that the user names.
  ///
  /// - Parameters:
  ///   - options: what `image` was opened with.
  ///   - forcesBase: whether to take an image that is not what was recorded.
  /// - Returns: what to know about it.
  /// - Throws: `busy` where somebody uses the overlay, or writes to the image; `invalidRequest` for an
  ///   image that is not the base; otherwise as `relink(_:to:)`.
  public static func relink(
    _ path: String, to image: OpenImage, _ options: ImageOptions, forcesBase: Bool
  ) throws(DiskError) -> [String] {
    let file = try WritableFileStorage(path: path)
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: path)
    try requireNoCommit(file)
    let info = try info(of: file)
    let files = image.disk.files.flatMap(\.parts)
    guard !files.contains(where: { $0.identity == file.identity }) else {
      throw DiskError(.invalidRequest, "cannot be its own base", path: path)
    }
    guard let recorded = info.base else {
      throw DiskError(.invalidRequest, "has no base", path: path)
    }
    guard recorded.format != OwnFormatName.snapshot else {
      throw DiskError(
        .unsupported, "holds changes of a snapshot, which has no name to be recorded by",
        path: path)
    }
    guard info.size == image.disk.size else {
      throw OverlayBase.wrongSize(info.size, path, image.disk.size, image.path)
    }
    for case let file as FileStorage in files {
      try ImageLock.take(.read, on: file.descriptorNumber, path: file.path)
    }
    var notes: [String] = []
    if !forcesBase {
      let comparison = try recorded.comparison(with: image.disk.files)
      _ = try OverlayBase.check(comparison, base: image.path, overlay: path)
      notes = comparison.files.map { "\($0.path) was touched; its new time was recorded" }
    }
    try relink(file, to: try OverlayBase(image, options, overlay: path))
    return notes
  }
}
