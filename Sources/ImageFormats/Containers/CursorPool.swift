internal import DiskCore
internal import Dispatch
internal import Synchronization

/// The live decoders of one stream, at different places of it.
final class CursorPool: Sendable {
  /// How many there are at most.
  static let most = 4
  /// It is better to wait for a decoder that will be this much nearer, in decoded bytes.
  static let worthWaiting: UInt64 = 4 << 20

  private struct Busy: Sendable {
    let id: ObjectIdentifier?
    let number: Int
    /// Where it will be.
    let until: UInt64
  }

  private struct State: Sendable {
    /// The last used one last.
    var idle: [any StreamCursor] = []
    var busy: [Busy] = []
    var waiting: [DispatchSemaphore] = []
    var number = 0
  }

  private enum Choice {
    case goOn(any StreamCursor)
    case begin(EntryPoint, next: UInt64?, number: Int)
    case wait(DispatchSemaphore)
  }

  private let limit: Int
  private let state = Mutex(State())

  /// What all of them take: claimed at once, so that no block is kept where a decoder will be.
  private let claim: MemoryClaim

  /// - Parameters:
  ///   - bytes: what one takes.
  ///   - memory: what they have together; one there always is.
  init(each bytes: Int, _ memory: DecodingMemory) {
    limit = min(Self.most, max(1, memory.forDecoders / max(1, bytes)))
    // One more: a decoder that is dropped lives until its user is done, and another may begin by then.
    claim = memory.claim((limit + 1) * bytes)
  }

  /// A decoder that stands at or before `offset`; the caller's until it gives it back or drops it.
  ///
  /// - Parameters:
  ///   - end: where it will be when it is given back.
  ///   - begin: makes one at an entry point, which the next one follows.
  func cursor(
    for offset: UInt64, until end: UInt64, _ points: EntryPoints,
    begin: (EntryPoint, _ next: UInt64?) throws(DiskError) -> any StreamCursor
  ) throws(DiskError) -> any StreamCursor {
    while true {
      let (point, next) = points.last(before: offset)
      let choice = state.withLock { Self.choose(&$0, offset, end, point, next, limit) }
      switch choice {
      case .goOn(let cursor): return cursor
      case .wait(let turn): turn.wait()
      case .begin(let point, let next, let number):
        do throws(DiskError) {
          let cursor = try begin(point, next)
          state.withLock { state in
            state.busy.removeAll { $0.number == number }
            state.busy.append(Busy(id: ObjectIdentifier(cursor), number: number, until: end))
          }
          return cursor
        } catch {
          let waiting = state.withLock { state in
            state.busy.removeAll { $0.number == number }
            return Self.takeWaiting(&state)
          }
          for turn in waiting { turn.signal() }
          throw error
        }
      }
    }
  }

  private static func choose(
    _ state: inout State, _ offset: UInt64, _ end: UInt64, _ point: EntryPoint, _ next: UInt64?,
    _ limit: Int
  ) -> Choice {
    // One that began before an entry point where decoders end cannot come past it: it is at its end,
    // and has been dropped.
    let best = state.idle.indices.filter { state.idle[$0].position <= offset }
      .max { state.idle[$0].position < state.idle[$1].position }
    let nearest = max(best.map { state.idle[$0].position } ?? 0, point.decoded)
    let coming = state.busy.map(\.until).filter { $0 <= offset }.max()
    func wait() -> Choice {
      let turn = DispatchSemaphore(value: 0)
      state.waiting.append(turn)
      return .wait(turn)
    }
    if let coming, coming > nearest, coming - nearest >= worthWaiting { return wait() }
    if let best, state.idle[best].position >= point.decoded {
      let cursor = state.idle.remove(at: best)
      state.number += 1
      state.busy.append(Busy(id: ObjectIdentifier(cursor), number: state.number, until: end))
      return .goOn(cursor)
    }
    if state.idle.count + state.busy.count >= limit {
      if state.idle.isEmpty { return wait() }
      state.idle.removeFirst()
    }
    state.number += 1
    state.busy.append(Busy(id: nil, number: state.number, until: end))
    return .begin(point, next: next, number: state.number)
  }

  /// Where the nearest decoder stands that nobody uses and that can go on to `offset`.
  func nearest(before offset: UInt64) -> UInt64? {
    state.withLock { $0.idle.map(\.position).filter { $0 <= offset }.max() }
  }

  func giveBack(_ cursor: any StreamCursor) { end(cursor, keeps: true) }

  /// For one that failed or has ended.
  func drop(_ cursor: any StreamCursor) { end(cursor, keeps: false) }

  private func end(_ cursor: any StreamCursor, keeps: Bool) {
    let waiting = state.withLock { state in
      state.busy.removeAll { $0.id == ObjectIdentifier(cursor) }
      if keeps { state.idle.append(cursor) }
      return Self.takeWaiting(&state)
    }
    for turn in waiting { turn.signal() }
  }

  /// All of them: each looks again for itself.
  private static func takeWaiting(_ state: inout State) -> [DispatchSemaphore] {
    let waiting = state.waiting
    state.waiting = []
    return waiting
  }
}
