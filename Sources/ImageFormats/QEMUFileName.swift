internal import DiskCore

/// How QEMU's formats name other files: a path, or something that QEMU would open by one of its
/// protocols, which Platter does not (DESIGN section 6).
struct QEMUFileName: Sendable {
  /// How much of a name that is refused is shown.
  private static let longestShown = 80

  /// As it stands in the image.
  let name: String

  init(_ name: String) { self.name = name }

  /// The text in a name's field: not terminated, but nothing after a NUL belongs to it.
  static func text(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The image's parent.
  ///
  /// - Parameter format: QEMU's name for it; nil where the image does not say.
  func parent(format: String?) -> ParentReference {
    var reference = ParentReference(
      name: name, paths: paths,
      format: format.flatMap { $0 == OwnFormatName.packed ? nil : Self.registryName($0) })
    reference.joinsParts = format.flatMap(OwnFormatName.registryName) != nil
    if let format, Self.deviceDrivers.contains(format) {
      reference.obstacle =
        "names its parent by QEMU's driver '\(format)'; Platter opens only files"
    } else if let refusal = refusal(as: "parent") {
      reference.obstacle = refusal
    }
    return reference
  }

  /// Opens the file that an image names besides its parent.
  ///
  /// - Parameter role: what it is to the image, for messages: `data file`.
  func open(
    for source: any Storage, _ files: NamedFiles, as role: String
  ) throws(DiskError) -> any Storage {
    if let refusal = refusal(as: role) {
      throw DiskError(.permissionDenied, refusal, path: source.path)
    }
    var missing: DiskError? = nil
    for path in paths {
      do throws(DiskError) {
        return try files.open(path, namedBy: source.path, as: role)
      } catch  where error.kind == .notFound {
        missing = missing ?? error
      }
    }
    throw missing ?? DiskError(.malformed, "its \(role) has no name", path: source.path)
  }

  /// Where to look for the file; nothing where it is not named by a path.
  private var paths: [String] {
    if isWindowsPath { return ForeignPath.candidates(name) }
    guard let scheme else { return name.isEmpty ? [] : [name] }
    return scheme == "file" ? [String(name.dropFirst("file:".count))] : []
  }

  private func refusal(as role: String) -> String? {
    guard !isWindowsPath, let scheme, scheme != "file" else { return nil }
    let shown = name.count <= Self.longestShown ? name : name.prefix(Self.longestShown) + "…"
    return "names its \(role) as '\(printable(String(shown)))', by QEMU's '\(printable(scheme)):'; "
      + "Platter opens only files"
  }

  /// What stands before a colon that no slash precedes: QEMU takes that for a protocol.
  private var scheme: String? {
    guard let end = name.firstIndex(where: { $0 == ":" || $0 == "/" }), name[end] == ":" else {
      return nil
    }
    return String(name[..<end])
  }

  /// `C:\…`, `C:/…` or `\\…`: QEMU on Windows wrote it.
  private var isWindowsPath: Bool {
    let start = Array(name.utf8.prefix(3))
    if start.starts(with: [0x5c, 0x5c]) { return true }
    guard start.count == 3, start[1] == UInt8(ascii: ":") else { return false }
    let letter = start[0] | 0x20
    return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter)
      && (start[2] == UInt8(ascii: "\\") || start[2] == UInt8(ascii: "/"))
  }

  /// Drivers of QEMU that stand for no file's content.
  private static let deviceDrivers: Set<String> = [
    "host_device", "host_cdrom", "nbd", "http", "https", "ftp", "ftps", "ssh", "iscsi", "nfs",
    "nvme",
    "rbd", "gluster", "sheepdog", "vvfat", "blkdebug", "blkverify", "null-co", "null-aio", "quorum",
    "throttle", "replication",
  ]

  /// Overlays have names of ours, and QEMU's drivers names that differ from them. `file` as a format
  /// is the file's bytes.
  private static func registryName(_ driver: String) -> String {
    switch driver {
    case "vpc": "vhd"
    case "file": "raw"
    default: OwnFormatName.registryName(of: driver) ?? driver
    }
  }
}
