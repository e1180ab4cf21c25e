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

  private struct State: Sendable {
    var handles: [Handle] = []
    var isClosed = false
  }

  private let state = Mutex(State())

  /// False, and nothing is added, while nothing may be opened for writing (`close`).
  func add(_ file: OpenFile, to node: UInt64, by thread: pid_t) -> Bool {
    state.withLock { state in
      guard !state.isClosed else { return false }
      state.handles.append(Handle(node: node, thread: thread, file: file))
      return true
    }
  }

  func remove(_ file: OpenFile) {
    state.withLock { $0.handles.removeAll { $0.file === file } }
  }

  /// Lets nothing be opened for writing until `reopen`.
  ///
  /// - Returns: false, and nothing has changed, where something is open.
  func close() -> Bool {
    state.withLock { state in
      guard state.handles.isEmpty else { return false }
      state.isClosed = true
      return true
    }
  }

  func reopen() { state.withLock { $0.isClosed = false } }

  /// What `thread` opened last of `node`.
  func last(of node: UInt64, by thread: pid_t) -> OpenFile? {
    state.withLock { state in
      state.handles.last { $0.node == node && $0.thread == thread }?.file
    }
  }

  var isEmpty: Bool { state.withLock { $0.handles.isEmpty } }
}
