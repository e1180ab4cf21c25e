public import Dispatch
public import Synchronization

/// A value that is made when it is first asked for, once, however many threads ask.
///
/// Making it is usually I/O, so no lock is held meanwhile: the first caller makes it, the others
/// wait for that one. A failure goes to everyone who waited; the next caller tries again.
///
/// Inlinable, as `LoadCache`: other modules' values come from the heart of their loops, where code that is
/// not specialised looks up the metadata of its types each time.
public final class Lazy<Value: Sendable>: Sendable {
  @usableFromInline enum State: Sendable {
    case absent
    case making(Attempt)
    case made(Value)
  }

  /// One try at making the value, and the place where others wait for its end.
  @usableFromInline final class Attempt: Sendable {
    @usableFromInline let done = DispatchGroup()
    @usableFromInline let failure = Mutex<DiskError?>(nil)
    @inlinable init() {}
  }

  @usableFromInline let state = Mutex<State>(.absent)
  @usableFromInline let make: @Sendable () throws(DiskError) -> Value

  @inlinable public init(_ make: @escaping @Sendable () throws(DiskError) -> Value) {
    self.make = make
  }

  /// The value; blocks while another thread makes it.
  @inlinable public func get() throws(DiskError) -> Value {
    while true {
      let (seen, mine) = state.withLock { state -> (State, Bool) in
        guard case .absent = state else { return (state, false) }
        let attempt = Attempt()
        attempt.done.enter()
        state = .making(attempt)
        return (state, true)
      }
      switch seen {
      case .made(let value): return value
      case .absent: continue
      case .making(let attempt) where mine: return try fulfil(attempt)
      case .making(let attempt):
        attempt.done.wait()
        if let failure = attempt.failure.withLock({ $0 }) { throw failure }
      }
    }
  }

  @inlinable func fulfil(_ attempt: Attempt) throws(DiskError) -> Value {
    defer { attempt.done.leave() }
    do throws(DiskError) {
      let value = try make()
      state.withLock { $0 = .made(value) }
      return value
    } catch {
      attempt.failure.withLock { $0 = error }
      state.withLock { $0 = .absent }
      throw error
    }
  }
}
