internal import DiskCore
internal import Synchronization

/// How many bytes of a window are stored, counted once for each state of its disk: counting can mean a
/// walk over a table.
final class AllocatedBytes: Sendable {
  private struct Count: Sendable {
    var changes: UInt64
    var window: Window
    var bytes: Lazy<UInt64>
  }

  private let count = Mutex<Count?>(nil)

  func of(_ window: Window) -> UInt64 {
    let changes = window.disk.changes
    let bytes = count.withLock { count in
      if let count, count.changes == changes, count.window.isSame(as: window) {
        return count.bytes
      }
      let bytes = Lazy { window.allocatedBytes() }
      count = Count(changes: changes, window: window, bytes: bytes)
      return bytes
    }
    return (try? bytes.get()) ?? window.size
  }
}
