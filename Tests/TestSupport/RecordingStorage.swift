import DiskCore
import Foundation
import Synchronization

/// A file in memory that writes down every change and every flush, so that a power cut can be
/// played at any point; and that fails where a test says so.
public final class RecordingStorage: WritableStorage {
  public enum Change: Sendable {
    case write(at: UInt64, bytes: [UInt8])
    case resize(UInt64)
    case punch(at: UInt64, length: UInt64)
    /// All changes before it are on the disk.
    case flush
  }

  public enum Fault: Sendable, CaseIterable {
    /// EIO; nothing of it was done.
    case inputOutput
    /// EIO after half of a write was done.
    case short
    /// ENOSPC; nothing of it was done.
    case noSpace
  }

  private struct State: Sendable {
    var content: PagedBytes
    var changes: [Change] = []
    var isRecording: Bool
    var calls = 0
    var fault: (number: Int, kind: Fault)?
    var capacity = Int.max
    var beforeFlush: @Sendable () -> Void = {}
    var beforeRead: @Sendable (_ offset: UInt64, _ count: Int) -> Void = { _, _ in }
  }

  public let path: String
  public let modificationTime: (seconds: Int, nanoseconds: Int) = (1_000_000_000, 0)
  private let state: Mutex<State>

  /// - Parameter recording: false for a file that is only written to.
  public init(
    _ content: PagedBytes = PagedBytes(), path: String = "overlay.qcow2", recording: Bool = true
  ) {
    self.path = path
    state = Mutex(State(content: content, isRecording: recording))
  }

  public var content: PagedBytes { state.withLock { $0.content } }
  public var changes: [Change] { state.withLock { $0.changes } }
  public var changeCount: Int { state.withLock { $0.changes.count } }
  /// Writes, resizes, punches and flushes so far, failed ones too.
  public var calls: Int { state.withLock { $0.calls } }
  public var flushes: Int {
    state.withLock { $0.changes.count { if case .flush = $0 { true } else { false } } }
  }

  /// Makes the change or flush of this number fail, from 1 on; nothing else fails.
  public func fail(call number: Int, with kind: Fault) {
    state.withLock { $0.fault = (number, kind) }
  }

  /// How many bytes may be stored; a write that would store more fails with ENOSPC.
  public func limit(to capacity: Int) { state.withLock { $0.capacity = capacity } }

  /// Calls `body` at the start of every flush, on its thread.
  public func beforeFlush(_ body: @escaping @Sendable () -> Void) {
    state.withLock { $0.beforeFlush = body }
  }

  /// Calls `body` at the start of every read, on its thread.
  public func beforeRead(_ body: @escaping @Sendable (_ offset: UInt64, _ count: Int) -> Void) {
    state.withLock { $0.beforeRead = body }
  }

  public var size: UInt64 { state.withLock { $0.content.size } }
  public var allocatedBytes: UInt64 { state.withLock { UInt64($0.content.stored) } }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    state.withLock({ $0.beforeRead })(offset.bytes, buffer.byteCount)
    let content = content
    guard offset.bytes <= content.size, UInt64(buffer.byteCount) <= content.size - offset.bytes
    else {
      throw DiskError(
        .truncated, "the file ends before the bytes that belong here", path: path,
        offset: offset.bytes)
    }
    buffer.withUnsafeMutableBytes { content.read(at: offset.bytes, into: $0) }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    StorageRegion(isHole: false, length: max(1, limit))
  }

  public func write(_ bytes: RawSpan, at offset: FileOffset) throws(DiskError) {
    let copy = bytes.withUnsafeBytes { Array($0) }
    let failure = state.withLock { state -> CInt in
      let failure = Self.failure(&state)
      if failure == EIO, let fault = state.fault, fault.kind == .short {
        Self.apply(.write(at: offset.bytes, bytes: Array(copy.prefix(copy.count / 2))), &state)
        return EIO
      }
      guard failure == 0 else { return failure }
      guard
        state.capacity == .max
          || state.content.stored(withWriteAt: offset.bytes, count: copy.count) <= state.capacity
      else { return ENOSPC }
      Self.apply(.write(at: offset.bytes, bytes: copy), &state)
      return 0
    }
    if failure != 0 {
      throw DiskError(system: failure, "cannot write", path: path, offset: offset.bytes)
    }
  }

  public func flush() throws(DiskError) {
    state.withLock({ $0.beforeFlush })()
    try change(.flush)
  }

  public func resize(to size: UInt64) throws(DiskError) { try change(.resize(size)) }

  public func punch(at offset: FileOffset, length: UInt64) throws(DiskError) {
    try change(.punch(at: offset.bytes, length: length))
  }

  private func change(_ change: Change) throws(DiskError) {
    let failure = state.withLock { state -> CInt in
      let failure = Self.failure(&state)
      if failure == 0 { Self.apply(change, &state) }
      return failure
    }
    if failure != 0 { throw DiskError(system: failure, "cannot change it", path: path) }
  }

  private static func failure(_ state: inout State) -> CInt {
    state.calls += 1
    guard let fault = state.fault, fault.number == state.calls else { return 0 }
    return fault.kind == .noSpace ? ENOSPC : EIO
  }

  private static func apply(_ change: Change, _ state: inout State) {
    state.content.apply(change)
    if state.isRecording { state.changes.append(change) }
  }
}

extension PagedBytes {
  public mutating func apply(_ change: RecordingStorage.Change) {
    switch change {
    case .write(let at, let bytes): write(bytes[...], at: at)
    case .resize(let size): resize(to: size)
    case .punch(let at, let length): punch(at: at, length: min(length, size - min(size, at)))
    case .flush: break
    }
  }
}

/// Plays power cuts over what a `RecordingStorage` wrote down: what was flushed is there, and of
/// what came later any part, down to single sectors of 512 bytes.
public struct PowerCuts {
  public enum Loss: CaseIterable {
    /// Everything up to the cut arrived.
    case nothing
    /// Nothing arrived since the last flush.
    case everything
    /// One change arrived, often the last, and none before it.
    case allButOne
    /// Some changes arrived and others did not, whatever their order.
    case changes
    /// Some sectors of some writes arrived.
    case sectors
  }

  private let changes: [RecordingStorage.Change]
  /// The content at the last flush before the cut, and how many changes it has.
  private var flushed = PagedBytes()
  private var flushedCount = 0

  public init(_ changes: [RecordingStorage.Change]) { self.changes = changes }

  /// The file after a cut behind the first `count` changes; `count` never goes back.
  public mutating func content(
    after count: Int, _ loss: Loss, _ random: inout SeededRandom
  ) -> PagedBytes {
    let last = changes[..<count].lastIndex { if case .flush = $0 { true } else { false } }
    if let last, last + 1 > flushedCount {
      for change in changes[flushedCount...last] { flushed.apply(change) }
      flushedCount = last + 1
    }
    var content = flushed
    let later = flushedCount..<count
    if loss == .allButOne, !later.isEmpty {
      let one = Bool.random(using: &random) ? count - 1 : Int.random(in: later, using: &random)
      content.apply(changes[one])
    }
    for change in changes[flushedCount..<count] {
      switch loss {
      case .nothing: content.apply(change)
      case .everything, .allButOne: break
      case .changes: if Bool.random(using: &random) { content.apply(change) }
      case .sectors: Self.tear(change, &content, &random)
      }
    }
    return content
  }

  private static func tear(
    _ change: RecordingStorage.Change, _ content: inout PagedBytes,
    _ random: inout SeededRandom
  ) {
    guard case .write(let at, let bytes) = change else {
      if Bool.random(using: &random) { content.apply(change) }
      return
    }
    var done = 0
    while done < bytes.count {
      let count = min(bytes.count - done, 512 - Int((at + UInt64(done)) % 512))
      if Bool.random(using: &random) {
        content.write(bytes[done..<done + count], at: at + UInt64(done))
      }
      done += count
    }
  }
}
