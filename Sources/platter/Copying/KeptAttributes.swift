internal import DiskCore
internal import FileSystems
internal import Glibc

/// What a copy keeps of owner, mode and times, as system calls take them.
struct KeptAttributes {
  private static let isRoot = geteuid() == 0

  /// Only root can give files away; nil where nobody is recorded.
  let owner: (user: uid_t, group: gid_t)?
  let mode: mode_t
  /// As utimensat(2) takes them: access and modification.
  let times: [timespec]

  init(_ attributes: FileAttributes) {
    let hasOwner = attributes.user != nil || attributes.group != nil
    // All ones: as it is.
    owner =
      Self.isRoot && hasOwner
      ? (attributes.user ?? uid_t.max, attributes.group ?? gid_t.max) : nil
    // Set-user-ID and set-group-ID mean somebody: they go where he is not recorded or cannot be kept.
    var kept: UInt16 = 0o1777
    if Self.isRoot, attributes.user != nil { kept |= 0o4000 }
    if Self.isRoot, attributes.group != nil { kept |= 0o2000 }
    let usual: UInt16 = attributes.kind == .folder ? 0o755 : 0o644
    mode = mode_t((attributes.permissions ?? usual) & kept)
    /// `UTIME_OMIT`, which is a macro.
    let unchanged = timespec(tv_sec: 0, tv_nsec: (1 << 30) - 2)
    times = [attributes.accessed ?? attributes.modified, attributes.modified].map { time in
      time.map { timespec(tv_sec: Int($0.seconds), tv_nsec: Int($0.nanoseconds)) } ?? unchanged
    }
  }

  /// Gives them to an open file or folder. The mode comes after the owner, who would lose its upper bits.
  func set(on descriptor: CInt, _ path: @autoclosure () -> String) throws(DiskError) {
    if let owner, fchown(descriptor, owner.user, owner.group) != 0 {
      throw DiskError(system: errno, "cannot be given to its owner", path: path())
    }
    guard fchmod(descriptor, mode) == 0 else {
      throw DiskError(system: errno, "cannot be given its mode", path: path())
    }
    guard unsafe futimens(descriptor, times) == 0 else {
      throw DiskError(system: errno, "cannot be given its times", path: path())
    }
  }
}

extension FileIdentity {
  init(_ status: stat) {
    self.init(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
  }
}
