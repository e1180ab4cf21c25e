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

  /// `O_PATH` of open(2), which Glibc's module hides behind _GNU_SOURCE.
  private static let pathOnly: CInt = 0o10_000_000

  /// Finds what `path` leads to without opening it: nothing happens to a FIFO or a device.
  ///
  /// - Throws: as `open(reading:)`.
  public static func open(locating path: String) throws(DiskError) -> OwnedDescriptor {
    let number = unsafe Glibc.open(path, Self.pathOnly | O_CLOEXEC)
    guard number >= 0 else { throw DiskError(system: errno, "cannot open", path: path) }
    return OwnedDescriptor(adopting: number)
  }

  /// The path in /proc that opens this very file again.
  public var procPath: String { "/proc/self/fd/\(number)" }

  /// The absolute path of the file, without links.
  ///
  /// - Throws: `unavailable` where /proc is not mounted; `unsupported` for a path that is not UTF-8,
  ///   of which two could not be told apart.
  public func realPath() throws(DiskError) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let count = unsafe readlink(procPath, &buffer, Int(PATH_MAX))
    guard count > 0 else { throw DiskError(.unavailable, "/proc is not mounted") }
    let bytes = buffer[..<count].map { UInt8(bitPattern: $0) }
    guard let path = String(validating: bytes, as: UTF8.self) else {
      throw DiskError(
        .unsupported, "lies in a folder whose name is not UTF-8",
        path: String(decoding: bytes, as: UTF8.self))
    }
    return path
  }

  /// Whether it is a regular file.
  public var isRegularFile: Bool {
    var status = stat()
    return unsafe fstat(number, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
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
      // No file has a name that is too long to be one.
      case ENOENT, ENOTDIR, ENAMETOOLONG: .notFound
      case EACCES, EPERM: .permissionDenied
      case EBUSY, ETXTBSY, EAGAIN: .busy
      default: .inputOutput
      }
    let words = unsafe String(cString: strerror(errno))
    self.init(kind, "\(what): \(words)", path: path, offset: offset, systemError: errno)
  }
}
