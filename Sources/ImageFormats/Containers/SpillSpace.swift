public import DiskCore
internal import Dispatch
internal import Synchronization

/// Room for decoded bytes in files without names, for all compressed streams of an image together.
///
/// When it is full nothing more goes in, and nothing goes out: who reads a stream that is larger again and
/// again would find nothing of it where the oldest made room for the newest.
public final class SpillSpace: Sendable {
  /// In bytes, unless the user says otherwise.
  public static let standardSize: UInt64 = 4 << 30
  /// How many blocks wait to be written at most; more that come meanwhile are not kept.
  static let mostWaiting = 4

  /// What it has done, for `status.json`.
  public struct Figures: Sendable, Equatable {
    /// How many bytes may be kept, and are; zeros take nothing.
    public var capacity: UInt64
    public var bytes: UInt64
    /// Reads that were answered from there, and their bytes.
    public var reads: UInt64
    public var bytesRead: UInt64
    /// Why nothing more is kept; nil while all is well.
    public var failure: String?
  }

  private struct State: Sendable {
    var bytes: UInt64 = 0
    var waiting = 0
    var reads: UInt64 = 0
    var bytesRead: UInt64 = 0
    var failure: DiskError?
    var whenItFails: @Sendable (DiskError) -> Void = { _ in }
  }

  public let capacity: UInt64
  private let make: @Sendable () throws(DiskError) -> any WritableStorage
  private let writer = DispatchQueue(label: "platter.spill")
  private let state = Mutex(State())

  /// - Parameters:
  ///   - capacity: in bytes.
  ///   - make: makes an empty file that is gone when nobody has it open any more.
  public init(
    capacity: UInt64, make: @escaping @Sendable () throws(DiskError) -> any WritableStorage
  ) {
    self.capacity = capacity
    self.make = make
  }

  public var figures: Figures {
    state.withLock { state in
      Figures(
        capacity: capacity, bytes: state.bytes, reads: state.reads, bytesRead: state.bytesRead,
        failure: state.failure?.description)
    }
  }

  /// Calls `body` when nothing more can be kept, once.
  public func whenItFails(_ body: @escaping @Sendable (DiskError) -> Void) {
    state.withLock { $0.whenItFails = body }
  }

  func file() throws(DiskError) -> any WritableStorage { try make() }

  /// Whether a block would be taken.
  var hasRoom: Bool {
    state.withLock {
      $0.failure == nil && $0.waiting < Self.mostWaiting && $0.bytes < capacity
    }
  }

  /// Runs `write` behind those that were taken before; it is not run where too many wait.
  func enqueue(_ write: @escaping @Sendable () -> Void) -> Bool {
    let isTaken = state.withLock { state in
      guard state.failure == nil, state.waiting < Self.mostWaiting else { return false }
      state.waiting += 1
      return true
    }
    guard isTaken else { return false }
    writer.async { [self] in
      write()
      state.withLock { $0.waiting -= 1 }
    }
    return true
  }

  /// Takes `count` bytes of the room; false where there are not as many.
  func reserve(_ count: UInt64) -> Bool {
    state.withLock { state in
      guard state.failure == nil, count <= capacity - min(capacity, state.bytes) else {
        return false
      }
      state.bytes += count
      return true
    }
  }

  /// Nothing more is kept: the file system is full, or its disk fails.
  func stop(_ error: DiskError) {
    let tell = state.withLock { state -> (@Sendable (DiskError) -> Void)? in
      guard state.failure == nil else { return nil }
      state.failure = error
      return state.whenItFails
    }
    tell?(error)
  }

  func didRead(_ count: Int) {
    state.withLock { state in
      state.reads += 1
      state.bytesRead += UInt64(count)
    }
  }

  /// Returns when what was taken is written.
  func settle() { writer.sync {} }
}
