internal import Dispatch
internal import Synchronization

/// A state that threads change, and wait for: who finds it not as he needs it sleeps until somebody has
/// changed it.
final class Turns<State: Sendable>: Sendable {
  private struct Guarded: Sendable {
    var state: State
    var waiting: [DispatchSemaphore] = []
  }

  private let guarded: Mutex<Guarded>

  init(_ state: State) { guarded = Mutex(Guarded(state: state)) }

  /// Returns when `attempt`, which is tried again after each change, has succeeded. It is called under
  /// the lock, and changes nothing where it fails.
  func wait(_ attempt: (inout State) -> Bool) {
    while true {
      let turn = guarded.withLock { guarded -> DispatchSemaphore? in
        guard !attempt(&guarded.state) else { return nil }
        let turn = DispatchSemaphore(value: 0)
        guarded.waiting.append(turn)
        return turn
      }
      guard let turn else { return }
      turn.wait()
    }
  }

  /// Changes the state and lets those who wait try again.
  func change(_ body: (inout State) -> Void) {
    let waiting = guarded.withLock { guarded in
      body(&guarded.state)
      let waiting = guarded.waiting
      guarded.waiting = []
      return waiting
    }
    for turn in waiting { turn.signal() }
  }
}
