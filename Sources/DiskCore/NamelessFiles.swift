internal import CPosix
internal import Glibc

/// Where files are made that are gone when they are closed: `$TMPDIR`, or `/tmp`.
public struct NamelessFiles: Sendable {
  /// Absolute.
  public let folder: String

  public init() {
    let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? ""
    self.folder = folder.hasPrefix("/") ? folder : "/tmp"
  }

  /// Makes an empty one.
  ///
  /// - Parameter purpose: what messages call it: `scratch`.
  public func make(for purpose: String) throws(DiskError) -> WritableFileStorage {
    try WritableFileStorage(
      creatingNameless: PathParts.join(
        folder, "platter-\(purpose)-\(getpid())-\(UInt64.random(in: .min ... .max))"))
  }

  /// What to say where they are in memory; nil where they are on a disk.
  ///
  /// - Parameter content: what is kept in them: `changes are`.
  public func remark(on content: String) -> String? {
    guard let descriptor = try? OwnedDescriptor.open(reading: folder),
      platter_is_in_memory(descriptor.number) != 0
    else { return nil }
    return "\(content) kept in memory: \(printable(folder)) is a tmpfs; TMPDIR names another folder"
  }
}
