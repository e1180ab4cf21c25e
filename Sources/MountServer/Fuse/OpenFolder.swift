internal import CFuse
internal import FileSystems
internal import Glibc
internal import MountTree

/// A folder of a file system that somebody lists, as it was when it was opened.
final class OpenFolder: Sendable {
  let item: FileItem
  let content: Folder

  init(_ item: FileItem, _ content: Folder) {
    self.item = item
    self.content = content
  }

  /// The first two are `.` and `..`.
  func name(at position: Int) -> FileName? {
    switch position {
    case 0: FileName(".")
    case 1: FileName("..")
    case 2..<content.entries.count + 2: content.entries[position - 2].name
    default: nil
    }
  }

  /// What a listing says of each entry, without a look at the item.
  func kindAndNumber(at position: Int) -> stat {
    var status = stat()
    guard position >= 2 else {
      status.st_mode = Glibc.S_IFDIR
      status.st_ino = ino_t(item.id)
      return status
    }
    let entry = content.entries[position - 2]
    status.st_mode = entry.kind.mode
    status.st_ino = ino_t(item.child(entry.item).id)
    return status
  }

  func makeHandle() -> UInt64 {
    unsafe UInt64(UInt(bitPattern: Unmanaged.passRetained(self).toOpaque()))
  }

  static func of(handle: UInt64) -> OpenFolder? {
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: UInt(handle)) else { return nil }
    return unsafe Unmanaged<OpenFolder>.fromOpaque(pointer).takeUnretainedValue()
  }

  static func release(handle: UInt64) {
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: UInt(handle)) else { return }
    unsafe Unmanaged<OpenFolder>.fromOpaque(pointer).release()
  }
}

extension FileKind {
  /// Its bits of `st_mode`.
  var mode: mode_t {
    switch self {
    case .file: Glibc.S_IFREG
    case .folder: Glibc.S_IFDIR
    case .link: Glibc.S_IFLNK
    case .characterDevice: Glibc.S_IFCHR
    case .blockDevice: Glibc.S_IFBLK
    case .pipe: Glibc.S_IFIFO
    case .socket: Glibc.S_IFSOCK
    }
  }
}
