internal import Digests
public import DiskCore
internal import Glibc
public import ImageFormats

// How an image is recorded as a base.

extension OverlayBase {
  /// `image` as the base of the overlay at `path`.
  ///
  /// - Parameter options: what `image` was opened with.
  /// - Throws: what reading its files throws.
  public init(
    _ image: OpenImage, _ options: ImageOptions, overlay path: String
  ) throws(DiskError) {
    self.init(
      name: Self.name(of: image, from: path), format: Self.format(of: image, options),
      identity: try Self.records(of: image.disk.files))
  }

  static func records(of files: [any Storage]) throws(DiskError) -> [FileIdentityRecord] {
    var records: [FileIdentityRecord] = []
    for file in files { records.append(try FileIdentityRecord.of(file)) }
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
    guard options.snapshot == nil else { return OwnFormatName.snapshot }
    guard image.containers.isEmpty else { return OwnFormatName.packed }
    let layers = image.disk.layers.map(\.description)
    let name = layers[0].format
    let other = OwnFormatName.text(of: name)
    // QEMU would look for the parents where the images say they are.
    guard options.parents.isEmpty else { return other }
    switch name {
    case "qcow2":
      return layers.allSatisfy { ["qcow2", "raw"].contains($0.format) } ? "qcow2" : other
    case "raw" where image.disk.files.count == 1 && image.disk.files[0].parts.count == 1:
      return "raw"
    // Notes are about sizes that tools read differently, and damage.
    case "vhd" where layers.count == 1 && layers[0].notes.isEmpty: return "vpc"
    case "vdi" where layers.count == 1 && layers[0].notes.isEmpty: return "vdi"
    case "vhdx" where layers.count == 1 && layers[0].notes.isEmpty: return "vhdx"
    default: return other
    }
  }
}
