internal import Glibc
internal import Synchronization

/// The open handles that can write, by who opened them.
///
/// `O_TRUNC` comes as a change of size to 0 bytes, right behind the open and from the same thread, but
/// the kernel does not say that the two belong together.
final class WritingHandles: Sendable {
  private struct Handle: Sendable {
    let node: UInt64
    let thread: pid_t
    let file: OpenFile
  }

  private let handles = Mutex<[Handle]>([])

  func add(_ file: OpenFile, to node: UInt64, by thread: pid_t) {
    handles.withLock { $0.append(Handle(node: node, thread: thread, file: file)) }
  }

  func remove(_ file: OpenFile) {
    handles.withLock { $0.removeAll { $0.file === file } }
  }

  /// What `thread` opened last of `node`.
  func last(of node: UInt64, by thread: pid_t) -> OpenFile? {
    handles.withLock { handles in
      handles.last { $0.node == node && $0.thread == thread }?.file
    }
  }

  var isEmpty: Bool { handles.withLock { $0.isEmpty } }
}
