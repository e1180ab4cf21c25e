internal import DiskCore
internal import Logging
internal import Synchronization

/// What a mount has done so far: counted on the read path, shown in `status.json`.
final class MountActivity: Sendable {
  private struct Failures: Sendable {
    var last: String? = nil
    /// The places already named in the log.
    var named: Set<String> = []
  }

  /// After this many different ones the log has said enough.
  private static let mostNamed = 256

  private let readCount = Atomic<UInt64>(0)
  private let byteCount = Atomic<UInt64>(0)
  private let failureCount = Atomic<UInt64>(0)
  private let failures = Mutex(Failures())
  private let log: Logger

  init(log: Logger) { self.log = log }

  var reads: UInt64 { readCount.load(ordering: .relaxed) }
  var bytesRead: UInt64 { byteCount.load(ordering: .relaxed) }
  var failedReads: UInt64 { failureCount.load(ordering: .relaxed) }
  var lastFailure: String? { failures.withLock { $0.last } }

  func didRead(_ count: Int) {
    readCount.add(1, ordering: .relaxed)
    byteCount.add(UInt64(count), ordering: .relaxed)
  }

  /// Names a damaged place in the log, once.
  func didFail(_ error: DiskError) {
    failureCount.add(1, ordering: .relaxed)
    let line = error.description
    let isNew = failures.withLock { failures in
      failures.last = line
      return failures.named.count < Self.mostNamed && failures.named.insert(line).inserted
    }
    if isNew { log.error("\(line)") }
  }
}
