internal import DiskCore
internal import FileSystems
internal import Glibc

/// A name in an open folder of this machine, and what is made there. Nothing follows a link.
struct HostName: ~Copyable {
  let path: String
  private let folder: CInt
  /// With its NUL.
  private let name: [CChar]

  /// - Parameters:
  ///   - folder: the folder's descriptor, which outlives this.
  ///   - path: for messages.
  init(_ folder: CInt, _ name: [UInt8], _ path: String) {
    self.folder = folder
    self.name = name.map { CChar(bitPattern: $0) } + [0]
    self.path = path
  }

  /// The folder of this name, made where it does not exist.
  func makeFolder() throws(DiskError) -> OwnedDescriptor {
    if unsafe mkdirat(folder, name, 0o700) != 0, errno != EEXIST { throw failure("cannot be made") }
    let number = unsafe openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { throw failure("is there and is no folder") }
    return OwnedDescriptor(adopting: number)
  }

  /// An empty file of this name, in the place of one that was there.
  func makeFile() throws(DiskError) -> OwnedDescriptor {
    try makeRoom()
    let number = unsafe openat(
      folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard number >= 0 else { throw failure("cannot be made") }
    return OwnedDescriptor(adopting: number)
  }

  func makeLink(to target: FileName) throws(DiskError) {
    try makeRoom()
    let text = target.bytes.map { CChar(bitPattern: $0) } + [0]
    guard unsafe symlinkat(text, folder, name) == 0 else { throw failure("cannot be made") }
  }

  /// A device, for which one must be root, a pipe or a socket.
  func makeSpecial(_ attributes: FileAttributes) throws(DiskError) {
    try makeRoom()
    let upper =
      UInt64(attributes.major & 0xFFFF_F000) << 32 | UInt64(attributes.minor & 0xFFFF_FF00) << 12
    let number = upper | UInt64(attributes.major & 0xFFF) << 8 | UInt64(attributes.minor & 0xFF)
    let kind: mode_t =
      switch attributes.kind {
      case .characterDevice: Glibc.S_IFCHR
      case .blockDevice: Glibc.S_IFBLK
      case .pipe: Glibc.S_IFIFO
      default: Glibc.S_IFSOCK
      }
    guard unsafe mknodat(folder, name, kind | 0o600, dev_t(number)) == 0 else {
      throw failure("cannot be made")
    }
  }

  /// Another name of what was copied to `first`; false where that cannot be.
  func link(to first: String) -> Bool {
    guard (try? makeRoom()) != nil else { return false }
    return unsafe linkat(AT_FDCWD, first, folder, name, 0) == 0
  }

  /// Owner (for root), mode and times.
  func set(_ attributes: FileAttributes) throws(DiskError) {
    let isRoot = geteuid() == 0
    if isRoot, let user = attributes.user, let group = attributes.group {
      guard unsafe fchownat(folder, name, user, group, AT_SYMLINK_NOFOLLOW) == 0 else {
        throw failure("cannot be given to its owner")
      }
    }
    if attributes.kind != .link {
      guard unsafe fchmodat(folder, name, Self.mode(of: attributes), 0) == 0 else {
        throw failure("cannot be given its mode")
      }
    }
    let times = Self.times(of: attributes)
    guard unsafe utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW) == 0 else {
      throw failure("cannot be given its times")
    }
  }

  /// The same, of an open folder.
  static func set(
    _ attributes: FileAttributes, on descriptor: CInt, _ path: String
  ) throws(DiskError) {
    if geteuid() == 0, let user = attributes.user, let group = attributes.group,
      fchown(descriptor, user, group) != 0
    {
      throw DiskError(system: errno, "cannot be given to its owner", path: path)
    }
    guard fchmod(descriptor, mode(of: attributes)) == 0 else {
      throw DiskError(system: errno, "cannot be given its mode", path: path)
    }
    let times = times(of: attributes)
    guard unsafe futimens(descriptor, times) == 0 else {
      throw DiskError(system: errno, "cannot be given its times", path: path)
    }
  }

  static func write(
    _ bytes: RawSpan, at offset: UInt64, to descriptor: CInt, _ path: String
  ) throws(DiskError) {
    var failure: CInt = 0
    unsafe bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count, failure == 0 {
        let count = unsafe pwrite(
          descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done,
          off_t(offset) + off_t(done))
        if count >= 0 { done += count } else if errno != EINTR { failure = errno }
      }
    }
    if failure != 0 { throw DiskError(system: failure, "cannot be written", path: path) }
  }

  /// What set-user-ID means depends on the owner, whom only root can give.
  private static func mode(of attributes: FileAttributes) -> mode_t {
    let kept: UInt16 = geteuid() == 0 && attributes.user != nil ? 0o7777 : 0o1777
    let usual: UInt16 = attributes.kind == .folder ? 0o755 : 0o644
    return mode_t((attributes.permissions ?? usual) & kept)
  }

  /// As utimensat(2) takes them: access and modification.
  private static func times(of attributes: FileAttributes) -> [timespec] {
    /// `UTIME_OMIT`, which is a macro.
    let unchanged = timespec(tv_sec: 0, tv_nsec: (1 << 30) - 2)
    return [attributes.accessed ?? attributes.modified, attributes.modified].map { time in
      time.map { timespec(tv_sec: Int($0.seconds), tv_nsec: Int($0.nanoseconds)) } ?? unchanged
    }
  }

  /// Takes away a file or link that has this name, so that nothing is written into what it leads to.
  private func makeRoom() throws(DiskError) {
    if unsafe unlinkat(folder, name, 0) != 0, errno != ENOENT {
      throw failure("cannot be replaced")
    }
  }

  private func failure(_ what: String) -> DiskError {
    DiskError(system: errno, what, path: path)
  }
}
