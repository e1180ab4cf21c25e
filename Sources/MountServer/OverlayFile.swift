internal import CPosix
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
    let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? ""
    let place = folder.hasPrefix("/") ? folder : "/tmp"
    let path = PathParts.join(
      place, "platter-scratch-\(getpid())-\(UInt64.random(in: .min ... .max))")
    let file = try WritableFileStorage(creating: path)
    unsafe unlink(path)
    let overlay = try Overlay.create(
      in: file, size: image.disk.size,
      base: OverlayBase(name: "base", format: "platter-scratch", identity: []))
    guard platter_is_in_memory(file.descriptor) != 0 else { return (overlay, []) }
    return (
      overlay,
      ["changes are kept in memory: \(printable(place)) is a tmpfs; TMPDIR names another folder"]
    )
  }

  /// The overlay at `path`, made where there is none.
  ///
  /// - Parameter forcesBase: whether to go on where the base is not what it was.
  /// - Returns: with it, what to know about it.
  /// - Throws: `busy` where another program uses the file; `invalidRequest` for an overlay of another
  ///   base, saying what differs.
  static func open(
    _ path: String, on image: OpenImage, _ options: ImageOptions, forcesBase: Bool
  ) throws(DiskError) -> (Overlay, notes: [String]) {
    let exists = unsafe access(path, F_OK) == 0
    let file = try exists ? WritableFileStorage(path: path) : WritableFileStorage(creating: path)
    guard !image.disk.files.contains(where: { $0.identity == file.identity }) else {
      throw DiskError(
        .invalidRequest, "is the image itself; name another file for its changes", path: path)
    }
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: path)
    guard file.size == 0 else {
      let notes = try check(file, on: image, forcesBase: forcesBase)
      return (try Overlay.open(file), notes)
    }
    do throws(DiskError) {
      let base = OverlayBase(
        name: name(of: image, from: path), format: format(of: image, options),
        identity: try records(of: image))
      return (try Overlay.create(in: file, size: image.disk.size, base: base), [])
    } catch {
      if !exists { unsafe unlink(path) }
      throw error
    }
  }

  /// Whether an overlay goes with the base that was given.
  private static func check(
    _ file: WritableFileStorage, on image: OpenImage, forcesBase: Bool
  ) throws(DiskError) -> [String] {
    let info = try Overlay.info(of: file)
    guard let base = info.base else {
      throw DiskError(
        .invalidRequest, "is a disk of its own and no overlay of anything", path: file.path)
    }
    guard info.size == image.disk.size else {
      throw DiskError(
        .invalidRequest,
        "holds changes of a disk of \(info.size) bytes, and '\(printable(image.path))' is one of "
          + "\(image.disk.size)", path: file.path)
    }
    guard !forcesBase, !base.identity.isEmpty else { return [] }
    let files = image.disk.files
    guard files.count == base.identity.count else {
      throw DiskError(
        .invalidRequest,
        "was made on a base of \(base.identity.count) files, and '\(printable(image.path))' has "
          + "\(files.count); '--force-base' takes it all the same", path: file.path)
    }
    var notes: [String] = []
    for (record, found) in zip(base.identity, files) {
      let differences = try record.differences(from: found)
      if let difference = differences.first(where: \.isOfContent) {
        throw DiskError(
          .invalidRequest,
          "its base '\(printable(found.path))' is not what it was when the overlay was made: "
            + "\(difference.description); '--force-base' takes it all the same", path: file.path)
      }
      if !differences.isEmpty {
        notes.append(
          "\(printable(found.path)) was touched since the overlay was made, but what was looked at "
            + "is the same; 'platter overlay relink' notes the new time")
      }
    }
    return notes
  }

  private static func records(of image: OpenImage) throws(DiskError) -> [FileIdentityRecord] {
    var records: [FileIdentityRecord] = []
    for file in image.disk.files { records.append(try FileIdentityRecord.of(file)) }
    return records
  }

  /// The base as the overlay names it: from the overlay's folder where it is in that or below it, so
  /// that both can move together.
  private static func name(of image: OpenImage, from overlay: String) -> String {
    let base = real(image.path)
    let folder = real(PathParts(overlay).folder)
    guard base.hasPrefix(folder + "/") else { return base }
    let name = String(base.dropFirst(folder.count + 1))
    // What stands before a colon QEMU takes for a protocol.
    return name.contains(":") ? "./" + name : name
  }

  private static func real(_ path: String) -> String {
    guard let resolved = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }

  /// QEMU's name for the base's format where QEMU reads it as we do; otherwise one that QEMU refuses.
  private static func format(of image: OpenImage, _ options: ImageOptions) -> String {
    let layers = image.disk.layers.map(\.description)
    let name = layers[0].format
    let other = "platter-\(name)"
    // QEMU would look for the parents where the images say they are, and show the newest state.
    guard options.parents.isEmpty, options.snapshot == nil else { return other }
    switch name {
    case "qcow2":
      return layers.allSatisfy { ["qcow2", "raw"].contains($0.format) } ? "qcow2" : other
    case "raw" where image.disk.files.count == 1: return "raw"
    // Notes are about sizes that tools read differently, and damage.
    case "vhd" where layers.count == 1 && layers[0].notes.isEmpty: return "vpc"
    case "vdi" where layers.count == 1 && layers[0].notes.isEmpty: return "vdi"
    case "vhdx" where layers.count == 1 && layers[0].notes.isEmpty: return "vhdx"
    default: return other
    }
  }
}
