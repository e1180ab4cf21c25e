public import DiskCore
internal import Glibc

/// The folder where mounts are found: control sockets, and the mount points that Platter makes.
public enum RuntimeFolder {
  /// `$XDG_RUNTIME_DIR/platter`, or where that is not set a folder in /tmp that only its owner can
  /// look into. Made where it is absent.
  ///
  /// - Throws: `permissionDenied` where it belongs to somebody else or others can use it.
  public static func path() throws(DiskError) -> String {
    let base = unsafe getenv("XDG_RUNTIME_DIR").map { unsafe String(cString: $0) } ?? ""
    if base.hasPrefix("/") { return try claim("\(base)/platter") }
    // In a user namespace we have root's number but not root's folder: then the next name is ours.
    let name = "/tmp/platter-\(getuid())"
    for candidate in [name] + (2...9).map({ "\(name)-\($0)" }) {
      if let path = try? claim(candidate) { return path }
    }
    return try claim(name)
  }

  private static func claim(_ path: String) throws(DiskError) -> String {
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

  /// Where the daemon of the mounted file system `device` (`major:minor`) listens.
  static func socket(of device: String) throws(DiskError) -> String {
    let name = device.utf8.map { $0 == UInt8(ascii: ":") ? "-" : String(UnicodeScalar($0)) }
      .joined()
    return "\(try path())/mount-\(name).sock"
  }

  /// Takes the lock under which mounts are made, waiting for it; it is given back by closing the
  /// descriptor.
  static func lock() throws(DiskError) -> CInt {
    let path = "\(try path())/lock"
    let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw DiskError(system: errno, "cannot be locked", path: path) }
    while flock(descriptor, LOCK_EX) != 0, errno == EINTR {}
    return descriptor
  }

  /// The sockets of all daemons, dead ones among them.
  static func sockets() throws(DiskError) -> [String] {
    let folder = try path()
    return try DirectoryListing.names(in: folder).filter { $0.hasSuffix(".sock") }.sorted()
      .map { "\(folder)/\($0)" }
  }

  /// Whether `path` is a mount point that Platter made.
  static func holds(_ path: String) throws(DiskError) -> Bool {
    path.hasPrefix(try MountPoint.resolved(try self.path()) + "/")
  }

  /// A new empty folder named for `image`.
  static func makeMountPoint(for image: String) throws(DiskError) -> String {
    let folder = try path()
    let name = PathParts(image).name
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
