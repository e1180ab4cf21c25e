internal import DiskCore
internal import Synchronization

/// How far a copy has come and what failed, as all of its threads tell it.
final class CopyReport: Sendable {
  private struct State: Sendable {
    var failures = 0
    var progress: Progress
  }

  private let state: Mutex<State>

  /// - Parameter total: in bytes.
  init(of total: UInt64, _ title: String) {
    state = Mutex(State(progress: Progress(of: total, title)))
  }

  var failures: Int { state.withLock { $0.failures } }

  func didCopy(_ count: Int) {
    if Terminal.errorsAreSeen { state.withLock { $0.progress.advance(by: UInt64(count)) } }
  }

  func tell(_ error: DiskError) {
    state.withLock { state in
      state.failures += 1
      state.progress.end()
      Terminal.say("\(error)")
    }
  }

  func end() { state.withLock { $0.progress.end() } }
}
