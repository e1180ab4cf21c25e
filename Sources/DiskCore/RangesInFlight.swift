/// Ranges of a disk that somebody is changing right now; who wants to change a part of one waits.
final class RangesInFlight: Sendable {
  private struct State: Sendable {
    var taken: [Range<UInt64>] = []
    /// Calls of `alone` that go on or wait for their turn: no new range is taken meanwhile, so that
    /// writers who never pause cannot keep them waiting.
    var alone = 0
    var isAlone = false
  }

  private let state = Turns(State())

  /// Runs `body` while no other call has a range that overlaps this one.
  func exclusively<Result>(
    _ range: Range<UInt64>, _ body: () throws(DiskError) -> Result
  ) throws(DiskError) -> Result {
    take(range)
    defer { giveBack(range) }
    return try body()
  }

  /// Runs `body` while no call has any range: those that have one end first, others wait. The body
  /// must not ask for a range itself.
  func alone<Result>(_ body: () throws(DiskError) -> Result) throws(DiskError) -> Result {
    state.change { $0.alone += 1 }
    state.wait { state in
      guard state.taken.isEmpty, !state.isAlone else { return false }
      state.isAlone = true
      return true
    }
    defer {
      state.change { state in
        state.isAlone = false
        state.alone -= 1
      }
    }
    return try body()
  }

  private func take(_ range: Range<UInt64>) {
    state.wait { state in
      guard state.alone == 0, !state.taken.contains(where: { $0.overlaps(range) }) else {
        return false
      }
      state.taken.append(range)
      return true
    }
  }

  private func giveBack(_ range: Range<UInt64>) {
    state.change { state in
      if let index = state.taken.firstIndex(of: range) { state.taken.remove(at: index) }
    }
  }
}
