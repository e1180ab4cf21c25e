internal import Dispatch
internal import Glibc

/// Decodes blocks ahead of readers, on as many threads as there are cores.
final class DecodingThreads: Sendable {
  private let walker = DispatchQueue(label: "platter.ahead")
  private let decoders = DispatchQueue(label: "platter.decoders", attributes: .concurrent)
  private let free: DispatchSemaphore

  init() {
    free = DispatchSemaphore(value: max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))))
  }

  /// Runs `walk` after those that were asked for before it. What it gives to its argument is run
  /// beside it; it waits while all threads are at work.
  func ahead(_ walk: @escaping @Sendable ((@escaping @Sendable () -> Void) -> Void) -> Void) {
    walker.async { [self] in
      walk { [self] decode in
        free.wait()
        decoders.async { [self] in
          decode()
          free.signal()
        }
      }
    }
  }
}
