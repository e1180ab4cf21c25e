internal import DiskCore
internal import Synchronization

/// What goes on in a stream's decoders, and the switch that ends it.
final class StreamActivity: Sendable {
  private let interruption: Interruption
  private let isOutgrown = Atomic(false)
  private let place = Mutex<(decoded: UInt64, target: UInt64?)?>(nil)
  private let correction = Mutex<(@Sendable () -> Void)?>(nil)
  /// Keeps what was found out, where that is worth it.
  let keep: @Sendable (EntryPoints) -> Void

  /// - Parameter interruption: what `cancel()` raises, and the stored file's reads look at.
  init(_ interruption: Interruption, keep: @escaping @Sendable (EntryPoints) -> Void) {
    self.interruption = interruption
    self.keep = keep
  }

  /// Ends what is being decoded, and all that is asked for from now on, with an error.
  func cancel() { interruption.raise() }

  /// - Throws: `inputOutput` with EINTR after `cancel()`.
  func check() throws(DiskError) { try interruption.check() }

  func progress(_ place: (UInt64, UInt64?)?) { self.place.withLock { $0 = place } }

  /// How far a long way through the stream is, in decoded bytes, and how far it goes where that is known; nil
  /// where nobody is on one.
  var progress: (decoded: UInt64, target: UInt64?)? { place.withLock { $0 } }

  /// From now on `act` is called where the stream's end was found, and not where it was thought to be: on the
  /// thread that found it, before what was asked of it is answered.
  func whenCorrected(_ act: @escaping @Sendable () -> Void) { correction.withLock { $0 = act } }

  /// The end was found elsewhere than it was thought to be.
  func corrected() { correction.withLock { $0 }?() }

  /// The stream is longer than was thought when it was opened.
  func outgrown() { isOutgrown.store(true, ordering: .relaxed) }
  var wasOutgrown: Bool { isOutgrown.load(ordering: .relaxed) }
}
