internal import Glibc
internal import Synchronization

/// Somebody who waits for bytes, and may stop waiting before they are there: a reader who is killed.
///
/// What is done for a waiter is done on a thread that says so (`waiting`): reading leads through layers and files in
/// containers, none of which has any business with who wants the bytes, down to a decoder that has a long way to
/// go. That one looks whether anybody is still there.
public final class Waiter: Sendable {
  private let hasLeft = Atomic(false)
  private let others: (@Sendable () -> Bool)?

  public init() { others = nil }

  /// One that stands for others.
  ///
  /// - Parameter areGone: whether none of them waits any more.
  init(_ areGone: @escaping @Sendable () -> Bool) { others = areGone }

  /// Does not wait any more.
  public func leave() { hasLeft.store(true, ordering: .relaxed) }

  public var isGone: Bool { hasLeft.load(ordering: .relaxed) || others?() ?? false }

  /// Runs `body` on this waiter's behalf.
  public func waiting<Result>(
    _ body: () throws(DiskError) -> Result
  ) throws(DiskError) -> Result {
    let outer = unsafe pthread_getspecific(Self.key)
    unsafe pthread_setspecific(Self.key, Unmanaged.passUnretained(self).toOpaque())
    defer { unsafe pthread_setspecific(Self.key, outer) }
    return try body()
  }

  /// On whose behalf this thread works; nil for somebody who waits however long it takes.
  public static var current: Waiter? {
    guard let pointer = unsafe pthread_getspecific(key) else { return nil }
    return unsafe Unmanaged<Waiter>.fromOpaque(pointer).takeUnretainedValue()
  }

  /// - Throws: `inputOutput` with ECANCELED where nobody waits any more for what this thread does.
  public static func check() throws(DiskError) {
    guard current?.isGone ?? false else { return }
    throw DiskError(.inputOutput, "nobody waits for this any more", systemError: ECANCELED)
  }

  /// Needs no destructor: a thread has one only while `waiting` keeps it.
  private static let key: pthread_key_t = {
    var key: pthread_key_t = 0
    unsafe pthread_key_create(&key, nil)
    return key
  }()
}

extension DiskError {
  /// Whether something was not done because nobody waited for it any more: who does can ask again.
  public var isGivenUp: Bool { kind == .inputOutput && systemError == ECANCELED }
}

/// Who waits for one block.
final class BlockDemand: Sendable {
  private struct State: Sendable {
    var waiters: [Waiter] = []
    /// Whether somebody waits however long it takes.
    var isPatient = false
  }

  private let state = Mutex(State())

  /// - Parameter waiter: nil for somebody who waits however long it takes.
  func add(_ waiter: Waiter?) {
    state.withLock { state in
      state.waiters.removeAll(where: \.isGone)
      if let waiter { state.waiters.append(waiter) } else { state.isPatient = true }
    }
  }

  func clear() { state.withLock { $0 = State() } }

  var isGone: Bool {
    state.withLock { !$0.isPatient && $0.waiters.allSatisfy(\.isGone) }
  }
}
