internal import DiskCore
internal import Glibc
internal import Synchronization

/// The switch that ends what the decoders of a stream are at.
final class Interruption: Sendable {
  private let isRaised = Atomic(false)

  func raise() { isRaised.store(true, ordering: .relaxed) }

  /// - Throws: `inputOutput` with EINTR after `raise()`.
  func check() throws(DiskError) {
    guard isRaised.load(ordering: .relaxed) else { return }
    throw DiskError(.inputOutput, "decoding was interrupted", systemError: EINTR)
  }
}

/// A stored file whose reads fail once decoding it was interrupted: a decoder that finds millions of members
/// or blocks of nothing gives nothing for long, but it reads.
final class InterruptibleStorage: Storage {
  let storage: any Storage
  private let interruption: Interruption

  init(_ storage: any Storage, _ interruption: Interruption) {
    self.storage = storage
    self.interruption = interruption
  }

  var path: String { storage.path }
  var parts: [any Storage] { storage.parts }
  var size: UInt64 { storage.size }
  var allocatedBytes: UInt64 { storage.allocatedBytes }
  var identity: FileIdentity? { storage.identity }
  var modificationTime: (seconds: Int, nanoseconds: Int) { storage.modificationTime }

  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    try interruption.check()
    try storage.read(at: offset, into: &buffer)
  }

  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    try storage.region(at: offset, limit: limit)
  }

  func way(to offset: FileOffset, count: UInt64) -> UInt64 { storage.way(to: offset, count: count) }
}
