public import DiskCore
internal import Synchronization

/// What is in a folder: listed when somebody first looks, and again after its content was replaced.
public final class Directory: Sendable {
  typealias Adopt = @Sendable ([TreeItem], _ known: [Node.Entry]) -> [Node.Entry]

  private struct State: Sendable {
    var entries: Lazy<[Node.Entry]>
    /// As it was listed last.
    var known: [Node.Entry] = []
  }

  private let state: Mutex<State>
  private let adopt: Adopt

  /// - Parameter adopt: gives items their nodes; those that were there before keep theirs.
  init(_ list: @escaping TreeItem.List, adopt: @escaping Adopt) {
    self.adopt = adopt
    state = Mutex(State(entries: Lazy { [] }))
    replace(list)
  }

  /// The entries; blocks while another thread lists them.
  ///
  /// - Throws: what kept them from being listed.
  public func get() throws(DiskError) -> [Node.Entry] {
    try state.withLock { $0.entries }.get()
  }

  /// From now on it holds what `list` gives. What is the same as before keeps its node.
  func replace(_ list: @escaping TreeItem.List) {
    let entries = Lazy { [weak self] () throws(DiskError) -> [Node.Entry] in
      let items = try list()
      guard let self else { return [] }
      let known = state.withLock { $0.known }
      let entries = adopt(items, known)
      state.withLock { $0.known = entries }
      return entries
    }
    state.withLock { $0.entries = entries }
  }
}
