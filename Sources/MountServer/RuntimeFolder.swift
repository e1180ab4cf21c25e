public import DiskCore
internal import Glibc

/// The folder where mounts are found: control sockets, and the mount points that Platter makes.
public enum RuntimeFolder {
  /// `$XDG_RUNTIME_DIR/platter`, or `/tmp/platter-UID` where that is not set, which only its owner
  /// can look into. Made where it is absent.
  ///
  /// - Throws: `permissionDenied` where it belongs to somebody else or others can write to it.
  public static func path() throws(DiskError) -> String {
    let base = unsafe getenv("XDG_RUNTIME_DIR").map { unsafe String(cString: $0) } ?? ""
    let path = base.hasPrefix("/") ? "\(base)/platter" : "/tmp/platter-\(getuid())"
    if unsafe mkdir(path, 0o700) != 0, errno != EEXIST {
      throw DiskError(system: errno, "cannot make the folder for running mounts", path: path)
    }
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR,
      status.st_uid == getuid(), status.st_mode & 0o077 == 0
    else {
      throw DiskError(
        .permissionDenied, "should be a folder of yours that nobody else can use (mode 0700)",
        path: path)
    }
    return path
  }

  /// Where the daemon `pid` listens.
  static func socket(of pid: pid_t) throws(DiskError) -> String { "\(try path())/\(pid).sock" }

  /// The sockets of all daemons, dead ones among them.
  static func sockets() throws(DiskError) -> [String] {
    let folder = try path()
    return try DirectoryListing.names(in: folder).filter { $0.hasSuffix(".sock") }.sorted()
      .map { "\(folder)/\($0)" }
  }

  /// A new empty folder named for `image`.
  static func makeMountPoint(for image: String) throws(DiskError) -> String {
    let folder = try path()
    let name = image.split(separator: "/").last.map(String.init) ?? "disk"
    for number in 1...1000 {
      let path = "\(folder)/\(name)" + (number == 1 ? "" : "-\(number)")
      if unsafe mkdir(path, 0o700) == 0 { return path }
      guard errno == EEXIST else {
        throw DiskError(system: errno, "cannot make a mount point", path: path)
      }
    }
    throw DiskError(.busy, "there are 1,000 mount points of this name", path: "\(folder)/\(name)")
  }
}
