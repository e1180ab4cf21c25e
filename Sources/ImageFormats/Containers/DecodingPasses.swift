internal import DiskCore
internal import Dispatch
internal import Synchronization

/// The live decoders of one stream and the readers that wait for them.
///
/// A decoder only goes forward, as a lift does on its way up: it stops at every place that somebody waits
/// for. A reader whose place is ahead of one waits for it; a reader whose place is behind all of them waits
/// for the next pass, which begins as soon as a decoder has nobody ahead. So readers at random places,
/// however many, cost about one pass over the stream together.
///
/// There are no threads for it: each pass is driven by one of the readers, up to the place that it wants
/// itself; then the next one that waits ahead takes over.
final class DecodingPasses: Sendable {
  /// How many decoders there are at most.
  static let most = 4
  /// Nobody behind a pass ends it before this many bytes were decoded while it waited.
  static let patience: UInt64 = 4 << 20
  /// How often who waits looks whether he is still waited for himself.
  private static let lookInterval = DispatchTimeInterval.milliseconds(100)

  /// What a reader is to do.
  enum Turn: Sendable {
    /// Bring this pass to the place that is wanted, and end the turn.
    case drive(Pass)
    /// Nothing: these are the bytes from there on.
    case take([UInt8])
    /// Ask again: what was waited for has failed.
    case lookAgain
  }

  /// One way over the stream, or the part of it between two entry points.
  struct Pass: Sendable {
    let number: Int
    let decoder = Decoder()
    /// Where what is being decoded begins, or what will be next.
    fileprivate(set) var place: UInt64
    /// Where it ends because others begin there; nil where it goes on to the stream's end.
    fileprivate let end: UInt64?
    fileprivate var isDriven: Bool
  }

  /// The decoder of a pass: the driver's while there is one.
  final class Decoder: Sendable {
    /// Nil where it is yet to be made, or is not needed any more: its memory is another one's then.
    private let live = Mutex<(any StreamCursor)?>(nil)

    var cursor: (any StreamCursor)? { live.withLock { $0 } }

    fileprivate func set(_ cursor: (any StreamCursor)?) {
      // Freed outside the lock.
      var old = cursor
      live.withLock { swap(&$0, &old) }
    }
  }

  fileprivate final class Waiting: Sendable {
    let offset: UInt64
    /// The entry point before it, as it was known when the wait began.
    let entry: UInt64
    let end: UInt64?
    /// How much was decoded before the wait began.
    let since: UInt64
    let turn = Mutex<Turn>(.lookAgain)
    let signal = DispatchSemaphore(value: 0)

    init(_ offset: UInt64, entry: UInt64, end: UInt64?, since: UInt64) {
      self.offset = offset
      self.entry = entry
      self.end = end
      self.since = since
    }
  }

  fileprivate struct State: Sendable {
    /// The last used one last.
    var passes: [Pass] = []
    /// The oldest first.
    var waiting: [Waiting] = []
    /// How many bytes all passes have decoded.
    var decoded: UInt64 = 0
    var number = 0
  }

  /// What is to be done once the lock is given back.
  fileprivate struct Outcome: Sendable {
    var turns: [(waiter: Waiting, turn: Turn)] = []
    /// Freed outside.
    var dropped: [Pass] = []
  }

  /// How many decoders there are at most.
  let limit: Int
  private let state = Mutex(State())

  /// What all of them take: claimed at once, so that no block is kept where a decoder will be.
  private let claim: MemoryClaim

  /// - Parameters:
  ///   - bytes: what one takes.
  ///   - memory: what they have together; one there always is.
  init(each bytes: Int, _ memory: DecodingMemory) {
    limit = min(Self.most, max(1, memory.forDecoders / max(1, bytes)))
    claim = memory.claim(limit * bytes)
  }

  /// How many bytes were decoded so far, also to be thrown away.
  var decoded: UInt64 { state.withLock { $0.decoded } }

  /// What the caller, who wants the bytes from `offset` on, is to do; waits until that is known.
  ///
  /// - Parameters:
  ///   - entry: the last entry point at or before `offset`, in decoded bytes.
  ///   - end: where a decoder that begins there must end; nil for the stream's end.
  /// - Throws: where nobody waits any more for what this thread does.
  func turn(for offset: UInt64, entry: UInt64, end: UInt64?) throws(DiskError) -> Turn {
    let (waiter, outcome) = state.withLock { state in
      let waiter = Waiting(offset, entry: entry, end: end, since: state.decoded)
      state.waiting.append(waiter)
      return (waiter, state.assign(atMost: limit))
    }
    carryOut(outcome)
    while waiter.signal.wait(timeout: .now() + Self.lookInterval) == .timedOut {
      guard Waiter.current?.isGone == true else { continue }
      let isOut = state.withLock { state in
        let index = state.waiting.firstIndex { $0 === waiter }
        if let index { state.waiting.remove(at: index) }
        return index != nil
      }
      guard isOut else { continue }
      try Waiter.check()
      // Somebody else came for the same block meanwhile.
      return .lookAgain
    }
    return waiter.turn.withLock { $0 }
  }

  /// Where the nearest decoder stands that can go on to `offset`, or comes by there.
  func nearest(before offset: UInt64) -> UInt64? {
    state.withLock { state in
      state.passes.filter { pass in
        pass.place <= offset && pass.end.map { offset < $0 } ?? true
      }.map(\.place).max()
    }
  }

  /// A driver has made the decoder of its pass, which stands at `cursor.position`.
  func begin(_ pass: Pass, with cursor: any StreamCursor) {
    pass.decoder.set(cursor)
    state.withLock { state in
      guard let index = state.passes.firstIndex(where: { $0.number == pass.number }) else { return }
      state.passes[index].place = cursor.position
    }
  }

  /// Who waited for some of the bytes that a pass has come by.
  struct Served: Sendable {
    fileprivate let first: UInt64
    fileprivate let waiters: [Waiting]
  }

  /// A driver has decoded the bytes from where it was to `place`.
  ///
  /// - Returns: those who are to be given them; nil where there is nobody.
  func advance(_ pass: Pass, to place: UInt64) -> Served? {
    state.withLock { state in
      guard let index = state.passes.firstIndex(where: { $0.number == pass.number }),
        state.passes[index].place < place
      else { return nil }
      let passed = state.passes[index].place..<place
      state.passes[index].place = place
      state.decoded += place - passed.lowerBound
      let served = state.waiting.filter { passed.contains($0.offset) }
      guard !served.isEmpty else { return nil }
      state.waiting.removeAll { passed.contains($0.offset) }
      return Served(first: passed.lowerBound, waiters: served)
    }
  }

  /// - Parameter bytes: from where the pass was when it advanced.
  func give(_ bytes: [UInt8], to served: Served) {
    for waiter in served.waiters {
      let skipped = Int(waiter.offset - served.first)
      Self.wake(waiter, .take(skipped == 0 ? bytes : Array(bytes.dropFirst(skipped))))
    }
  }

  /// The driver of `pass` has what it wanted: somebody else takes it over, or it waits where it is.
  ///
  /// - Parameter keeps: false where the decoder is at its end.
  func end(_ pass: Pass, keeps: Bool) {
    if !keeps { pass.decoder.set(nil) }
    let outcome = state.withLock { state -> Outcome in
      if let index = state.passes.firstIndex(where: { $0.number == pass.number }) {
        var pass = state.passes.remove(at: index)
        pass.isDriven = false
        if keeps { state.passes.append(pass) }
      }
      return state.assign(atMost: limit)
    }
    carryOut(outcome)
  }

  /// The decoder of `pass` has failed, or come to the stream's end before what it was to find: all who
  /// wait look for themselves whether that concerns them.
  func fail(_ pass: Pass) {
    pass.decoder.set(nil)
    let outcome = state.withLock { state -> Outcome in
      state.passes.removeAll { $0.number == pass.number }
      defer { state.waiting = [] }
      return Outcome(turns: state.waiting.map { ($0, .lookAgain) })
    }
    carryOut(outcome)
  }

  private func carryOut(_ outcome: Outcome) {
    // Before others are made in their place.
    for pass in outcome.dropped { pass.decoder.set(nil) }
    for (waiter, turn) in outcome.turns { Self.wake(waiter, turn) }
  }

  private static func wake(_ waiter: Waiting, _ turn: Turn) {
    waiter.turn.withLock { $0 = turn }
    waiter.signal.signal()
  }
}

extension DecodingPasses.State {
  /// Finds a driver for each pass that has none and is waited for, and begins new ones for those who
  /// are behind all that there are.
  fileprivate mutating func assign(atMost limit: Int) -> DecodingPasses.Outcome {
    var outcome = DecodingPasses.Outcome()
    while !waiting.isEmpty {
      let nearest = waiting.map { nearestPass(before: $0) }
      let behind = nearest.firstIndex { $0 == nil }
      if let ready = readyPass(nearest) {
        guard let behind, passes.count >= limit, isToEnd(ready.pass, for: behind, nearest) else {
          hand(ready.pass, to: waiting[ready.waiter], &outcome)
          continue
        }
        outcome.dropped.append(passes.remove(at: ready.pass))
      }
      guard let behind else { break }
      if passes.count >= limit {
        guard let idle = passes.firstIndex(where: { !$0.isDriven }) else { break }
        outcome.dropped.append(passes.remove(at: idle))
      }
      begin(for: waiting[behind], &outcome)
    }
    return outcome
  }

  /// A pass without a driver that is waited for, and who waits nearest ahead of it.
  private func readyPass(_ nearest: [Int?]) -> (pass: Int, waiter: Int)? {
    for pass in passes.indices where !passes[pass].isDriven {
      let waiter = waiting.indices.filter { nearest[$0] == pass }
        .min { waiting[$0].offset < waiting[$1].offset }
      if let waiter { return (pass, waiter) }
    }
    return nil
  }

  /// Whether who is behind all passes has waited longer than everybody ahead of this one, and while as
  /// much was decoded as half of what ending it loses: a lone decoder comes twice as far as it was.
  private func isToEnd(_ pass: Int, for waiter: Int, _ nearest: [Int?]) -> Bool {
    guard passes.indices.allSatisfy({ passes[$0].isDriven || $0 == pass }),
      let first = nearest.firstIndex(of: pass), waiter < first
    else { return false }
    let waited = decoded - waiting[waiter].since
    let place = passes[pass].place
    return waited >= DecodingPasses.patience
      && waited >= (place - min(place, waiting[first].entry)) / 2
  }

  /// From the entry point of who waits longest, the lowest place first: the others are ahead of it.
  private mutating func begin(
    for oldest: DecodingPasses.Waiting, _ outcome: inout DecodingPasses.Outcome
  ) {
    let first =
      waiting.filter { $0.entry == oldest.entry && nearestPass(before: $0) == nil }
      .min { $0.offset < $1.offset } ?? oldest
    number += 1
    passes.append(
      DecodingPasses.Pass(
        number: number, place: first.entry, end: first.end, isDriven: true))
    hand(passes.count - 1, to: first, &outcome)
  }

  private mutating func hand(
    _ pass: Int, to waiter: DecodingPasses.Waiting, _ outcome: inout DecodingPasses.Outcome
  ) {
    passes[pass].isDriven = true
    waiting.removeAll { $0 === waiter }
    outcome.turns.append((waiter, .drive(passes[pass])))
  }

  /// The pass that has the shortest way to a place; nil where an entry point is nearer than all of them. Of two
  /// at one place the one that is under way: the other would decode the same once more.
  private func nearestPass(before waiter: DecodingPasses.Waiting) -> Int? {
    passes.indices
      .filter { index in
        let pass = passes[index]
        return waiter.entry <= pass.place && pass.place <= waiter.offset
          && pass.end.map { waiter.offset < $0 } ?? true
      }
      .max {
        (passes[$0].place, passes[$0].isDriven ? 1 : 0) < (
          passes[$1].place, passes[$1].isDriven ? 1 : 0
        )
      }
  }
}
