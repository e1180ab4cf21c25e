internal import DiskCore
internal import FileSystems
internal import Glibc
internal import MountTree

/// Whose a mount is and how old: what `stat` needs beside a node's own attributes.
struct MountOwner: Sendable {
  let user: uid_t
  let group: gid_t
  /// The image's own.
  let modified: timespec
  /// When something was last written through the mount, in nanoseconds since 1970; nil on a read-only
  /// one, 0 for never.
  let lastWrite: (@Sendable () -> Int)?
  /// Without `--allow-other` the kernel keeps everybody else out, and the modes say so.
  let allowsOthers: Bool
  /// Of the whole disk, in bytes.
  let diskSize: @Sendable () -> UInt64

  var isWritable: Bool { lastWrite != nil }

  func status(of node: Node) -> stat {
    let attributes = node.attributes
    var status = kindAndNumber(of: node)
    status.st_mode |= attributes.permissions & (allowsOthers ? 0o777 : 0o700)
    status.st_nlink = 1
    status.st_uid = user
    status.st_gid = group
    status.st_size = off_t(attributes.size)
    status.st_blksize = 4096
    status.st_blocks = blkcnt_t((attributes.allocatedBytes + 511) / 512)
    var time = modified
    if let lastWrite, case let nanoseconds = lastWrite(), nanoseconds > 0 {
      time = timespec(
        tv_sec: nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }
    if !node.isLasting { unsafe clock_gettime(CLOCK_REALTIME, &time) }
    status.st_mtim = time
    status.st_ctim = time
    status.st_atim = time
    return status
  }

  /// What is inside a file system keeps what is recorded of it; the mount says what is not.
  func status(of item: FileItem) throws(DiskError) -> stat {
    let attributes = try item.files.attributes(of: item.item)
    var status = stat()
    status.st_ino = ino_t(item.shownNumber(attributes.serial))
    let permissions: UInt16 = attributes.kind == .folder ? 0o555 : 0o444
    status.st_mode = attributes.kind.mode | mode_t(attributes.permissions ?? permissions)
    status.st_nlink = nlink_t(attributes.links)
    status.st_uid = attributes.user ?? user
    status.st_gid = attributes.group ?? group
    status.st_rdev = dev_t(major: attributes.major, minor: attributes.minor)
    status.st_size = off_t(clamping: attributes.size)
    status.st_blksize = 4096
    status.st_blocks = blkcnt_t(
      clamping: attributes.allocatedBytes / 512 + (attributes.allocatedBytes % 512 == 0 ? 0 : 1))
    let time = attributes.modified.map(timespec.init) ?? modified
    status.st_mtim = time
    status.st_ctim = attributes.changed.map(timespec.init) ?? time
    status.st_atim = attributes.accessed.map(timespec.init) ?? time
    return status
  }

  /// All that a directory listing says.
  func kindAndNumber(of node: Node) -> stat {
    var status = stat()
    status.st_ino = ino_t(node.id)
    status.st_mode =
      switch node.kind {
      case .directory: Glibc.S_IFDIR
      case .link: Glibc.S_IFLNK
      case .file: Glibc.S_IFREG
      }
    return status
  }

  var fileSystemStatus: statvfs {
    var status = statvfs()
    status.f_bsize = 4096
    status.f_frsize = 4096
    status.f_blocks = UInt((diskSize() + 4095) / 4096)
    status.f_namemax = 255
    status.f_flag = isWritable ? 0 : UInt(ST_RDONLY)
    return status
  }
}

extension timespec {
  fileprivate init(_ time: FileTime) {
    self.init(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
  }
}

extension dev_t {
  /// As makedev(3), which is a macro.
  fileprivate init(major: UInt32, minor: UInt32) {
    let upper = UInt64(major & 0xFFFF_F000) << 32 | UInt64(minor & 0xFFFF_FF00) << 12
    let lower = UInt64(major & 0xFFF) << 8 | UInt64(minor & 0xFF)
    self = dev_t(upper | lower)
  }
}
