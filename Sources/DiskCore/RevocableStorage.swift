/// Another storage's bytes, until they are taken away: for one who reads what somebody else may give
/// up and use for something new.
public final class RevocableStorage: Storage {
  private enum Access: Sendable { case open, closing, revoked }

  private struct State: Sendable {
    var access = Access.open
    var reads = 0
  }

  private let storage: any Storage
  private let reason: String
  private let state = Turns(State())

  /// - Parameter reason: what is said to who reads when they are gone.
  public init(_ storage: any Storage, reason: String) {
    self.storage = storage
    self.reason = reason
  }

  /// Whether the bytes are gone.
  public var isRevoked: Bool {
    var isRevoked = false
    state.change { isRevoked = $0.access == .revoked }
    return isRevoked
  }

  public var path: String { storage.path }
  public var size: UInt64 { storage.size }
  public var allocatedBytes: UInt64 { storage.allocatedBytes }
  public var identity: FileIdentity? { storage.identity }
  public var modificationTime: (seconds: Int, nanoseconds: Int) { storage.modificationTime }

  /// - Throws: `inputOutput` once the bytes are gone; otherwise what the storage throws.
  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    try begin()
    defer { end() }
    try storage.read(at: offset, into: &buffer)
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    try begin()
    defer { end() }
    return try storage.region(at: offset, limit: limit)
  }

  /// Runs `body` while nobody reads: reads that are going on end first, new ones wait. Where it
  /// succeeds the bytes are gone; where it throws all is as before.
  public func revoke(_ body: () throws(DiskError) -> Void) throws(DiskError) {
    var before = Access.open
    state.wait { state in
      guard state.access != .closing else { return false }
      before = state.access
      state.access = .closing
      return true
    }
    state.wait { $0.reads == 0 }
    do throws(DiskError) {
      try body()
      state.change { $0.access = .revoked }
    } catch {
      state.change { $0.access = before }
      throw error
    }
  }

  private func begin() throws(DiskError) {
    var isGone = false
    state.wait { state in
      guard state.access != .closing else { return false }
      isGone = state.access == .revoked
      if !isGone { state.reads += 1 }
      return true
    }
    guard !isGone else { throw DiskError(.inputOutput, reason, path: path) }
  }

  private func end() { state.change { $0.reads -= 1 } }
}
