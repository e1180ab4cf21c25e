internal import DiskCore
internal import FileSystems
internal import Glibc

/// A name in an open folder of this machine, and what is made there. Nothing follows a link.
struct HostName: Sendable {
  let bytes: [UInt8]
  private let folder: CopyFolder

  init(_ bytes: [UInt8], in folder: CopyFolder) {
    self.bytes = bytes
    self.folder = folder
  }

  /// For messages.
  var path: String { PathParts.join(folder.path, FileName(bytes).text) }

  /// From the folder that everything is copied into.
  var place: [UInt8] { folder.place.isEmpty ? bytes : folder.place + [0x2F] + bytes }

  /// The folder of this name, made where it does not exist.
  func makeFolder() throws(DiskError) -> OwnedDescriptor {
    if unsafe mkdirat(folder.number, name, 0o700) != 0, errno != EEXIST {
      throw failure("cannot be made")
    }
    let number = unsafe openat(
      folder.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { throw failure("is there and is no folder") }
    return OwnedDescriptor(adopting: number)
  }

  /// An empty file of this name, in the place of one that was there.
  func makeFile() throws(DiskError) -> OwnedDescriptor {
    OwnedDescriptor(
      adopting: try make { name, folder in
        unsafe openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
      })
  }

  func makeLink(to target: FileName) throws(DiskError) {
    let text = target.bytes.map { CChar(bitPattern: $0) } + [0]
    _ = try make { name, folder in unsafe symlinkat(text, folder, name) }
  }

  /// A device, for which one must be root, a pipe or a socket.
  func makeSpecial(_ attributes: FileAttributes) throws(DiskError) {
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
    _ = try make { name, folder in unsafe mknodat(folder, name, kind | 0o600, dev_t(number)) }
  }

  /// Another name of what was copied before; false where that cannot be, or where something else has
  /// taken its place since.
  func link(to first: CopiedFile) -> Bool {
    let root = folder.root
    let place = Self.terminated(first.place)
    guard Self.identity(place, in: root) == first.identity else { return false }
    let made = try? make { name, folder in unsafe linkat(root, place, folder, name, 0) }
    return made != nil
  }

  /// Owner, mode and times of what is no folder and no file; those are open when they get theirs.
  func set(_ attributes: FileAttributes) throws(DiskError) {
    let kept = KeptAttributes(attributes)
    if let owner = kept.owner {
      guard
        unsafe fchownat(folder.number, name, owner.user, owner.group, AT_SYMLINK_NOFOLLOW) == 0
      else { throw failure("cannot be given to its owner") }
    }
    if attributes.kind != .link {
      guard unsafe fchmodat(folder.number, name, kept.mode, AT_SYMLINK_NOFOLLOW) == 0 else {
        throw failure("cannot be given its mode")
      }
    }
    guard unsafe utimensat(folder.number, name, kept.times, AT_SYMLINK_NOFOLLOW) == 0 else {
      throw failure("cannot be given its times")
    }
  }

  /// Does what gives a number below 0 where something has this name; then that is taken away, and it is
  /// done again.
  private func make(_ body: ([CChar], CInt) -> CInt) throws(DiskError) -> CInt {
    var result = body(name, folder.number)
    if result < 0, errno == EEXIST {
      try makeRoom()
      result = body(name, folder.number)
    }
    guard result >= 0 else { throw failure("cannot be made") }
    return result
  }

  /// Takes away a file or link that has this name, so that nothing is written into what it leads to. The
  /// image itself stays.
  private func makeRoom() throws(DiskError) {
    if let there = Self.identity(name, in: folder.number), folder.spared.contains(there) {
      throw DiskError(
        .invalidRequest, "is the image itself; copy to another folder or name", path: path)
    }
    if unsafe unlinkat(folder.number, name, 0) != 0, errno != ENOENT {
      throw failure("cannot be replaced")
    }
  }

  private static func identity(_ name: [CChar], in folder: CInt) -> FileIdentity? {
    var status = stat()
    guard unsafe fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
    return FileIdentity(status)
  }

  private var name: [CChar] { Self.terminated(bytes) }

  private static func terminated(_ bytes: [UInt8]) -> [CChar] {
    bytes.map { CChar(bitPattern: $0) } + [0]
  }

  private func failure(_ what: String) -> DiskError {
    DiskError(system: errno, what, path: path)
  }
}

/// A file that was copied and has other names.
struct CopiedFile: Sendable {
  /// From the folder that everything is copied into.
  let place: [UInt8]
  let identity: FileIdentity
}
