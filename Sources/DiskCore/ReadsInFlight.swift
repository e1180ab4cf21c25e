internal import Synchronization

/// Counts the reads that are going on, so that space which one of them may still read from is not
/// used for something else.
final class ReadsInFlight: Sendable {
  private struct State: Sendable {
    var epoch: UInt64 = 0
    /// Reads that began in an epoch and have not ended.
    var running: [UInt64: Int] = [:]
  }

  private let state = Mutex(State())

  /// A read begins; what it gives is for `end`.
  func begin() -> UInt64 {
    state.withLock { state in
      state.running[state.epoch, default: 0] += 1
      return state.epoch
    }
  }

  func end(_ epoch: UInt64) {
    state.withLock { state in
      let left = (state.running[epoch] ?? 1) - 1
      state.running[epoch] = left == 0 ? nil : left
    }
  }

  /// Begins a new epoch and gives the one that ended.
  func nextEpoch() -> UInt64 {
    state.withLock { state in
      defer { state.epoch += 1 }
      return state.epoch
    }
  }

  /// Whether no read of `epoch` or an earlier one is going on.
  func areDone(_ epoch: UInt64) -> Bool {
    state.withLock { state in !state.running.keys.contains { $0 <= epoch } }
  }
}
