import DiskCore
import Foundation
import Synchronization

/// A storage that writes down what is read of it, and fails where a test says so.
public final class FaultyStorage: Storage {
  public enum Fault: Sendable, CaseIterable {
    /// The system fails; nothing of the buffer is filled.
    case inputOutput
    /// Half of the buffer is filled, then the file ends.
    case short
  }

  public struct Read: Sendable, Equatable {
    public let offset: UInt64
    public let count: Int

    public init(offset: UInt64, count: Int) {
      self.offset = offset
      self.count = count
    }
  }

  private struct State: Sendable {
    var reads: [Read] = []
    var faults: [Int: Fault] = [:]
    var damaged: [Range<UInt64>] = []
    var beforeRead: @Sendable (Read) -> Void = { _ in }
  }

  private let storage: any Storage
  private let state = Mutex(State())

  public init(_ storage: any Storage) { self.storage = storage }

  public var path: String { storage.path }
  public var size: UInt64 { storage.size }
  public var allocatedBytes: UInt64 { storage.allocatedBytes }
  public var modificationTime: (seconds: Int, nanoseconds: Int) { storage.modificationTime }

  /// Every read so far, in order, those that failed too.
  public var reads: [Read] { state.withLock { $0.reads } }

  /// Forgets the reads so far, from which faults count.
  public func forgetReads() { state.withLock { $0.reads = [] } }

  /// Makes the read of this number, from 1 on, fail; nothing else fails any more.
  public func fail(read number: Int, with fault: Fault) {
    state.withLock { $0.faults = [number: fault] }
  }

  /// Makes every read fail that touches `range`: a bad sector.
  public func damage(_ range: Range<UInt64>) { state.withLock { $0.damaged.append(range) } }

  /// Calls `body` at the start of every read, on the reading thread.
  public func beforeRead(_ body: @escaping @Sendable (Read) -> Void) {
    state.withLock { $0.beforeRead = body }
  }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    let read = Read(offset: offset.bytes, count: buffer.byteCount)
    let (fault, before) = state.withLock { state -> (Fault?, @Sendable (Read) -> Void) in
      state.reads.append(read)
      let (end, overflow) = offset.bytes.addingReportingOverflow(UInt64(read.count))
      let touched = offset.bytes..<(overflow ? .max : end)
      let isDamaged = state.damaged.contains { $0.overlaps(touched) }
      return (isDamaged ? .inputOutput : state.faults[state.reads.count], state.beforeRead)
    }
    before(read)
    switch fault {
    case nil:
      try storage.read(at: offset, into: &buffer)
    case .inputOutput:
      throw DiskError(system: EIO, "cannot read", path: path, offset: offset.bytes)
    case .short:
      let half = read.count / 2
      var piece = buffer._mutatingExtracting(0..<half)
      try storage.read(at: offset, into: &piece)
      throw DiskError(
        .truncated, "the file ends before the bytes that belong here", path: path,
        offset: offset.bytes + UInt64(half))
    }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    // Past the end as a real file answers.
    guard offset.bytes < size else { return StorageRegion(isHole: false, length: max(1, limit)) }
    return try storage.region(at: offset, limit: limit)
  }
}
