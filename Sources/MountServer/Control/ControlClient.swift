internal import CPosix
internal import DiskCore
internal import Glibc

/// A connection to a daemon's control socket on which one request was made.
struct ControlClient: ~Copyable {
  private let connection: OwnedDescriptor

  /// Nil where nobody listens; the socket of a daemon that died is removed.
  ///
  /// - Parameter seconds: how long to wait for each answer; nil for as long as the daemon lives.
  static func connect(
    _ path: String, saying request: ControlRequest, patience seconds: Int?
  ) -> ControlClient? {
    let number = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { return nil }
    let connection = OwnedDescriptor(adopting: number)
    var patience = timeval(tv_sec: seconds ?? 0, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    unsafe setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
    unsafe setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    guard unsafe platter_connect_unix(number, path) == 0 else {
      if errno == ECONNREFUSED { unsafe unlink(path) }
      return nil
    }
    guard DescriptorText.send(request.line, to: number) else { return nil }
    return ControlClient(connection: connection)
  }

  /// From now on an answer is waited for as long as the daemon lives.
  func waitWithoutLimit() {
    var patience = timeval(tv_sec: 0, tv_usec: 0)
    unsafe setsockopt(
      connection.number, SOL_SOCKET, SO_RCVTIMEO, &patience,
      socklen_t(MemoryLayout<timeval>.size))
  }

  /// Everything until the daemon closes the connection or the patience ends.
  func answer() -> String { DescriptorText.readAll(connection.number) }

  /// Whether the daemon has taken note that somebody waits.
  func isWaitedFor() -> Bool {
    var word = [UInt8](repeating: 0, count: ControlRequest.waiting.utf8.count)
    let count = unsafe word.withUnsafeMutableBytes { bytes in
      unsafe recv(connection.number, bytes.baseAddress, bytes.count, CInt(MSG_WAITALL))
    }
    return count == word.count
  }

  /// Whether there is an answer, or the end of the connection, within so many milliseconds.
  func hasAnswer(within milliseconds: CInt) -> Bool {
    !waitForInput([connection.number], timeout: milliseconds).isEmpty
  }
}
