internal import Glibc

/// Waits until one of the descriptors can be read or is closed at its other end.
///
/// - Parameter timeout: in milliseconds; -1 for none.
/// - Returns: which can; empty where the time ran out.
func waitForInput(_ descriptors: [CInt], timeout: CInt = -1) -> Set<CInt> {
  var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
  while true {
    let count = unsafe poll(&entries, nfds_t(entries.count), timeout)
    if count >= 0 { return Set(entries.filter { $0.revents != 0 }.map(\.fd)) }
    guard errno == EINTR else {
      // Short of memory: whoever waits will be back at once.
      usleep(100_000)
      return []
    }
  }
}
