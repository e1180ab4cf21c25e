internal import DiskCore
internal import Glibc

/// The end of the connection to the kernel, as it happens: libfuse waits for the requests that are being
/// answered, and nobody wants their answers any more.
enum ConnectionEnd {
  /// Calls `ended` once the mount is gone, from a thread of its own.
  static func watch(_ device: borrowing OwnedDescriptor, _ ended: @escaping @Sendable () -> Void) {
    let number = fcntl(device.number, F_DUPFD_CLOEXEC, 0)
    guard number >= 0 else { return }
    DetachedThread.run {
      // The kernel says POLLERR, which need not be asked for.
      var entry = pollfd(fd: number, events: 0, revents: 0)
      while unsafe poll(&entry, 1, -1) < 0, errno == EINTR {}
      close(number)
      ended()
    }
  }
}
