public import DiskCore
internal import Glibc

/// Where a mount goes: a directory of the user's, a regular file, or a folder that Platter makes.
public struct MountPoint: Sendable {
  public enum Kind: Sendable { case directory, regularFile }

  /// Absolute, with no link in it, as the kernel's mount table spells it.
  public let path: String
  public let kind: Kind
  /// Whether Platter made it.
  public let isOwned: Bool

  /// A new folder under `$XDG_RUNTIME_DIR/platter/`.
  public init(madeFor image: String) throws(DiskError) {
    path = try RuntimeFolder.makeMountPoint(for: image)
    kind = .directory
    isOwned = true
  }

  /// Takes `path` as mount point; what a daemon that died left mounted there is cleared away.
  ///
  /// - Throws: `notFound`, `busy` where something is mounted there, `invalidRequest` where it is not
  ///   empty or neither a directory nor a regular file.
  public init(_ path: String) throws(DiskError) {
    self.path = try Self.resolved(path)
    isOwned = false
    if MountTable.isDead(self.path) { try Self.clear(self.path) }
    var status = stat()
    guard unsafe lstat(self.path, &status) == 0 else {
      throw DiskError(system: errno, "the mount point cannot be used", path: path)
    }
    guard !MountTable.isMounted(self.path) else {
      throw DiskError(
        .busy,
        "something is already mounted there"
          + (MountTable.entry(at: self.path) == nil ? "" : "; 'platter unmount' it first"),
        path: path)
    }
    switch status.st_mode & S_IFMT {
    case S_IFDIR:
      kind = .directory
      guard try DirectoryListing.names(in: self.path).isEmpty else {
        throw DiskError(
          .invalidRequest, "the mount point is not empty; name an empty folder", path: path)
      }
    case S_IFREG:
      kind = .regularFile
    default:
      throw DiskError(
        .invalidRequest, "a mount point is a directory or a regular file", path: path)
    }
  }

  /// Takes a dead mount away. Its own supervisor can be about that at the same moment: whoever does it,
  /// what counts is that it is gone.
  private static func clear(_ path: String) throws(DiskError) {
    do throws(DiskError) {
      try Fusermount.unmount(path, lazily: true)
    } catch {
      if MountTable.isDead(path) { throw error }
    }
  }

  /// The absolute path of an existing file or folder, also where it is a mount whose daemon died, in
  /// which nothing can be looked up any more.
  ///
  /// - Throws: `notFound`, saying what to do.
  public static func resolved(_ path: String) throws(DiskError) -> String {
    if let whole = realPath(path) { return whole }
    let failure = errno
    let parts = PathParts(path)
    if failure == ENOTCONN || failure == EACCES, let parent = realPath(parts.folder) {
      return PathParts.join(parent, parts.name)
    }
    throw failure == ENOENT
      ? DiskError(.notFound, "there is no such mount point; make it first (mkdir)", path: path)
      : DiskError(system: failure, "the mount point cannot be used", path: path)
  }

  private static func realPath(_ path: String) -> String? {
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }
}
