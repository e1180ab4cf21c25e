internal import Glibc
internal import Synchronization

/// Files that a process is about to open with `O_TRUNC`: the kernel asks for the change of size first
/// and opens afterwards, without saying that the two belong together.
final class EmptiedFiles: Sendable {
  private struct Key: Hashable, Sendable {
    let node: UInt64
    let process: pid_t
  }

  /// A process that has not opened its file by then never will.
  private static let most = 64

  private let files = Mutex<[Key]>([])

  func add(_ node: UInt64, by process: pid_t) {
    files.withLock { files in
      files.append(Key(node: node, process: process))
      if files.count > Self.most { files.removeFirst() }
    }
  }

  /// Whether it is one of them; no more from now on.
  func take(_ node: UInt64, by process: pid_t) -> Bool {
    files.withLock { files in
      let key = Key(node: node, process: process)
      guard files.contains(key) else { return false }
      files.removeAll { $0 == key }
      return true
    }
  }
}
