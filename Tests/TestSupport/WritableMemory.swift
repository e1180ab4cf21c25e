import DiskCore
import Foundation
import Synchronization

/// Stored bytes in memory that can be written to.
public final class WritableMemory: WritableStorage {
  public let path: String
  public let modificationTime: (seconds: Int, nanoseconds: Int) = (1_000_000_000, 0)
  private let content: Mutex<[UInt8]>
  private let flushCount = Mutex(0)
  /// Bytes that the "disk" has room for.
  private let room: Int

  public init(_ bytes: [UInt8] = [], path: String = "memory.img", room: Int = .max) {
    content = Mutex(bytes)
    self.path = path
    self.room = room
  }

  public var bytes: [UInt8] { content.withLock { $0 } }
  public var flushes: Int { flushCount.withLock { $0 } }
  public var size: UInt64 { content.withLock { UInt64($0.count) } }
  public var allocatedBytes: UInt64 { size }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    let count = buffer.byteCount
    let piece = content.withLock { content -> [UInt8]? in
      guard offset.bytes <= UInt64(content.count), count <= content.count - Int(offset.bytes)
      else { return nil }
      return Array(content[Int(offset.bytes)..<Int(offset.bytes) + count])
    }
    guard let piece else {
      throw DiskError(
        .truncated, "the file ends before the bytes that belong here", path: path,
        offset: offset.bytes)
    }
    buffer.withUnsafeMutableBytes { $0.copyBytes(from: piece) }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    StorageRegion(isHole: false, length: max(1, limit))
  }

  public func write(_ bytes: RawSpan, at offset: FileOffset) throws(DiskError) {
    let source = bytes.withUnsafeBytes { Array($0) }
    let isFull = content.withLock { content in
      let end = Int(offset.bytes) + source.count
      guard end <= room else { return true }
      if end > content.count {
        content.append(contentsOf: repeatElement(0, count: end - content.count))
      }
      content.replaceSubrange(Int(offset.bytes)..<end, with: source)
      return false
    }
    if isFull {
      throw DiskError(
        .inputOutput, "cannot write: No space left on device", path: path, offset: offset.bytes,
        systemError: ENOSPC)
    }
  }

  public func flush() throws(DiskError) { flushCount.withLock { $0 += 1 } }

  public func resize(to size: UInt64) throws(DiskError) {
    content.withLock { content in
      if Int(size) < content.count {
        content.removeLast(content.count - Int(size))
      } else {
        content.append(contentsOf: repeatElement(0, count: Int(size) - content.count))
      }
    }
  }

  public func punch(at offset: FileOffset, length: UInt64) throws(DiskError) {
    content.withLock { content in
      let range = Int(offset.bytes)..<min(content.count, Int(offset.bytes + length))
      for place in range { content[place] = 0 }
    }
  }
}

/// The simplest layer that takes writes: units in the order in which they were first written.
public final class MemoryOverlay: WritableLayer {
  private struct State: Sendable {
    /// Where each unit is; nil: zeros.
    var places: [UInt64: UInt64?] = [:]
    var reserved: [UInt64: UInt64] = [:]
    var end: UInt64 = 0
    var generation: UInt64 = 0
    var reclaimed: [UInt64] = []
  }

  public let size: UInt64
  public let unit: UInt64
  public let storage: WritableMemory
  public var tableBytes: UInt64 { 0 }
  public var files: [any Storage] { [storage] }
  public let description = LayerDescription(format: "memory")
  private let state = Mutex(State())

  public init(size: UInt64, unit: UInt64, room: Int = .max) {
    self.size = size
    self.unit = unit
    storage = WritableMemory(room: room)
  }

  /// What `reclaim` was told, in order.
  public var reclaimed: [UInt64] { state.withLock { $0.reclaimed } }
  /// Reservations that are neither published nor abandoned.
  public var open: Int { state.withLock { $0.reserved.count } }

  public func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    let index = offset.bytes / unit
    let within = offset.bytes % unit
    return state.withLock { state in
      let length = min(unit - within, size - offset.bytes)
      switch state.places[index] {
      case nil: return Extent(.below(offset), length: length)
      case .some(nil): return Extent(.zero, length: length)
      case .some(.some(let place)):
        return Extent(.stored(storage, at: FileOffset(place + within)), length: length)
      }
    }
  }

  public func reserve(
    at offset: DiskOffset, length: UInt64
  ) throws(DiskError) -> Reservation {
    let index = offset.bytes / unit
    let within = offset.bytes % unit
    let count = min(length, unit - within)
    return state.withLock { state in
      if case .some(.some(let place)) = state.places[index] {
        return Reservation(storage, at: FileOffset(place + within), offset: offset, length: count)
      }
      let place = state.end
      state.end += unit
      state.reserved[index] = place
      return Reservation(
        storage, at: FileOffset(place + within), offset: offset, length: count, before: within,
        after: unit - within - count)
    }
  }

  public func publish(_ reservation: Reservation) {
    let index = reservation.offset.bytes / unit
    state.withLock { state in
      if let place = state.reserved.removeValue(forKey: index) { state.places[index] = place }
    }
  }

  public func abandon(_ reservation: Reservation) {
    state.withLock { $0.reserved[reservation.offset.bytes / unit] = nil }
  }

  public func discard(at offset: DiskOffset, length: UInt64) throws(DiskError) {
    state.withLock { state in
      var place = offset.bytes
      while place < offset.bytes + length {
        state.places[place / unit] = .some(nil)
        place += unit
      }
    }
  }

  public func flush() throws(DiskError) -> UInt64 {
    try storage.flush()
    return state.withLock { state in
      state.generation += 1
      return state.generation
    }
  }

  public func reclaim(upTo generation: UInt64) {
    state.withLock { $0.reclaimed.append(generation) }
  }
}
