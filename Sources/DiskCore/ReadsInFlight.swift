internal import Synchronization

/// Counts the reads that are going on, so that space which one of them may still read from is not
/// used for something else.
final class ReadsInFlight: Sendable {
  private struct State: Sendable {
    var epoch: UInt64 = 0
    /// Reads of this epoch that have not ended: what nearly every read is about.
    var running = 0
    /// The same of those before it that still have some.
    var late: [UInt64: Int] = [:]
  }

  private let state = Mutex(State())

  /// A read begins; what it gives is for `end`.
  func begin() -> UInt64 {
    state.withLock { state in
      state.running += 1
      return state.epoch
    }
  }

  func end(_ epoch: UInt64) {
    state.withLock { state in
      guard epoch != state.epoch else {
        state.running -= 1
        return
      }
      let left = (state.late[epoch] ?? 1) - 1
      state.late[epoch] = left == 0 ? nil : left
    }
  }

  /// Begins a new epoch and gives the one that ended.
  func nextEpoch() -> UInt64 {
    state.withLock { state in
      if state.running > 0 { state.late[state.epoch] = state.running }
      state.running = 0
      defer { state.epoch += 1 }
      return state.epoch
    }
  }

  /// Whether no read of `epoch`, which has ended, or an earlier one is going on.
  func areDone(_ epoch: UInt64) -> Bool {
    state.withLock { state in !state.late.keys.contains { $0 <= epoch } }
  }
}
