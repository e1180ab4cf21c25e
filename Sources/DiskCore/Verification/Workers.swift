internal import Dispatch
internal import Glibc

/// As many threads as there are cores, for work that is handed out piece by piece.
public final class Workers: Sendable {
  private let queue = DispatchQueue(label: "platter.workers", attributes: .concurrent)
  private let pieces = DispatchGroup()
  private let free: DispatchSemaphore

  public init() {
    free = DispatchSemaphore(value: max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN))))
  }

  /// Has `work` done by another thread; waits while all are busy.
  public func add(_ work: @escaping @Sendable () -> Void) {
    free.wait()
    queue.async(group: pieces) { [self] in
      work()
      free.signal()
    }
  }

  /// Until all that was added is done.
  public func wait() { pieces.wait() }
}
