internal import DiskCore
internal import Glibc
internal import ImageFormats
internal import Overlays

/// Makes or opens the file that the changes of a mount go into.
enum OverlayFile {
  /// An overlay that is gone with the mount: its file has no name.
  ///
  /// - Returns: with it, what to know about where it is.
  static func scratch(on image: OpenImage) throws(DiskError) -> (Overlay, notes: [String]) {
    let files = NamelessFiles()
    let file = try files.make(for: "scratch")
    let overlay = try Overlay.create(
      in: file, size: image.disk.size,
      base: OverlayBase(name: "base", format: "platter-scratch", identity: []))
    return (overlay, [files.remark(on: "changes are")].compactMap(\.self))
  }

  /// The overlay at `path`, made where there is none.
  ///
  /// - Parameter forcesBase: whether to go on where the base is not what it was.
  /// - Returns: with it, whether it was made, and what to know about it.
  /// - Throws: `busy` where another program uses the file; `invalidRequest` for an overlay of another
  ///   base, saying what differs.
  static func open(
    _ path: String, on image: OpenImage, _ options: ImageOptions, forcesBase: Bool
  ) throws(DiskError) -> (Overlay, isNew: Bool, notes: [String]) {
    let exists = unsafe access(path, F_OK) == 0
    let file = try exists ? WritableFileStorage(path: path) : WritableFileStorage(creating: path)
    guard !image.disk.files.contains(where: { $0.identity == file.identity }) else {
      throw DiskError(
        .invalidRequest, "is the image itself; name another file for its changes", path: path)
    }
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: path)
    guard file.size == 0 else {
      let notes = try check(file, on: image, options, forcesBase: forcesBase)
      return (try Overlay.open(file), false, notes)
    }
    do throws(DiskError) {
      let base = try OverlayBase(image, options, overlay: path)
      return (try Overlay.create(in: file, size: image.disk.size, base: base), !exists, [])
    } catch {
      if !exists { unsafe unlink(path) }
      throw error
    }
  }

  /// Whether an overlay goes with the base that was given.
  private static func check(
    _ file: WritableFileStorage, on image: OpenImage, _ options: ImageOptions, forcesBase: Bool
  ) throws(DiskError) -> [String] {
    try Overlay.requireNoCommit(file)
    let info = try Overlay.info(of: file)
    guard let base = info.base else {
      throw DiskError(
        .invalidRequest, "is a disk of its own and no overlay of anything", path: file.path)
    }
    guard (base.format == OwnFormatName.snapshot) == (options.snapshot != nil) else {
      throw DiskError(
        .invalidRequest,
        options.snapshot == nil
          ? "holds changes of a snapshot; '--snapshot NAME' says of which"
          : "holds changes of the newest state and not of a snapshot", path: file.path)
    }
    guard info.size == image.disk.size else {
      throw OverlayBase.wrongSize(info.size, file.path, image.disk.size, image.path)
    }
    guard !forcesBase else { return [] }
    return try OverlayBase.check(
      try base.comparison(with: image.disk.files), base: image.path, overlay: file.path)
  }
}
