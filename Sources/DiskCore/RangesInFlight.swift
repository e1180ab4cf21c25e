internal import Dispatch
internal import Synchronization

/// Ranges of a disk that somebody is changing right now; who wants to change a part of one waits.
final class RangesInFlight: Sendable {
  private struct State: Sendable {
    var taken: [Range<UInt64>] = []
    var waiting: [DispatchSemaphore] = []
  }

  private let state = Mutex(State())

  /// Runs `body` while no other call has a range that overlaps this one.
  func exclusively<Result>(
    _ range: Range<UInt64>, _ body: () throws(DiskError) -> Result
  ) throws(DiskError) -> Result {
    take(range)
    defer { giveBack(range) }
    return try body()
  }

  private func take(_ range: Range<UInt64>) {
    while true {
      let turn = state.withLock { state -> DispatchSemaphore? in
        guard state.taken.contains(where: { $0.overlaps(range) }) else {
          state.taken.append(range)
          return nil
        }
        let turn = DispatchSemaphore(value: 0)
        state.waiting.append(turn)
        return turn
      }
      guard let turn else { return }
      turn.wait()
    }
  }

  private func giveBack(_ range: Range<UInt64>) {
    let waiting = state.withLock { state in
      if let index = state.taken.firstIndex(of: range) { state.taken.remove(at: index) }
      let waiting = state.waiting
      state.waiting = []
      return waiting
    }
    for turn in waiting { turn.signal() }
  }
}
