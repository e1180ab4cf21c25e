internal import Glibc

/// A file descriptor that is closed when its owner goes.
public struct OwnedDescriptor: ~Copyable, Sendable {
  public let number: CInt

  public init(adopting number: CInt) { self.number = number }

  deinit { close(number) }

  /// Gives the descriptor to somebody else who closes it.
  public consuming func relinquish() -> CInt {
    let number = number
    discard self
    return number
  }

  /// Opens `path` for reading. FIFOs and terminals do not block the open.
  ///
  /// - Throws: `notFound`, `permissionDenied` or `inputOutput`.
  public static func open(reading path: String) throws(DiskError) -> OwnedDescriptor {
    let number = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard number >= 0 else {
      let failure = errno
      // Swift turns the bytes of an argument that is no UTF-8 into U+FFFD.
      if failure == ENOENT, path.unicodeScalars.contains("\u{fffd}") {
        throw DiskError(
          .notFound, "cannot be opened: file names that are not UTF-8 cannot be used", path: path)
      }
      throw DiskError(system: failure, "cannot open", path: path)
    }
    return OwnedDescriptor(adopting: number)
  }
}

extension DiskError {
  /// An error of the operating system: `what` and the system's words for `errno`.
  public init(system errno: CInt, _ what: String, path: String? = nil, offset: UInt64? = nil) {
    let kind: Kind =
      switch errno {
      case ENOENT, ENOTDIR: .notFound
      case EACCES, EPERM: .permissionDenied
      case EBUSY, ETXTBSY, EAGAIN: .busy
      default: .inputOutput
      }
    let words = unsafe String(cString: strerror(errno))
    self.init(kind, "\(what): \(words)", path: path, offset: offset, systemError: errno)
  }
}
