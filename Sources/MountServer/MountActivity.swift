internal import DiskCore
internal import Glibc
internal import Logging
internal import Synchronization

/// What a mount has done so far: counted where it is done, shown in `status.json`.
final class MountActivity: Sendable {
  private struct Failures: Sendable {
    var last: String? = nil
    /// The places already named in the log.
    var named: Set<String> = []

    mutating func isNew(_ line: String) -> Bool {
      named.count < MountActivity.mostNamed && named.insert(line).inserted
    }
  }

  /// After this many different ones the log has said enough.
  private static let mostNamed = 256

  private let readCount = Atomic<UInt64>(0)
  private let byteCount = Atomic<UInt64>(0)
  private let failureCount = Atomic<UInt64>(0)
  private let writeCount = Atomic<UInt64>(0)
  private let writtenByteCount = Atomic<UInt64>(0)
  private let lastWriteTime = Atomic<Int>(0)
  private let writeFailureCount = Atomic<UInt64>(0)
  private let failures = Mutex(Failures())
  private let log: Logger

  init(log: Logger) { self.log = log }

  var reads: UInt64 { readCount.load(ordering: .relaxed) }
  var bytesRead: UInt64 { byteCount.load(ordering: .relaxed) }
  var failedReads: UInt64 { failureCount.load(ordering: .relaxed) }
  var writes: UInt64 { writeCount.load(ordering: .relaxed) }
  var bytesWritten: UInt64 { writtenByteCount.load(ordering: .relaxed) }
  var failedWrites: UInt64 { writeFailureCount.load(ordering: .relaxed) }
  var lastFailure: String? { failures.withLock { $0.last } }

  func didRead(_ count: Int) {
    readCount.add(1, ordering: .relaxed)
    byteCount.add(UInt64(count), ordering: .relaxed)
  }

  /// In nanoseconds since 1970; 0 for never.
  var lastWrite: Int { lastWriteTime.load(ordering: .relaxed) }

  /// Something was written or made zeros.
  func didChange() {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    lastWriteTime.store(now.tv_sec * 1_000_000_000 + now.tv_nsec, ordering: .relaxed)
  }

  func didWrite(_ count: Int) {
    writeCount.add(1, ordering: .relaxed)
    writtenByteCount.add(UInt64(count), ordering: .relaxed)
  }

  /// Names a damaged place in the log, once, however many reads touch it.
  ///
  /// - Parameter place: finds the part of the disk that cannot be read; only asked for a new one.
  func didFail(_ error: DiskError, place: () -> Range<UInt64>? = { nil }) {
    failureCount.add(1, ordering: .relaxed)
    didFail(error.description, place: place)
  }

  func didFailToWrite(_ error: DiskError) {
    writeFailureCount.add(1, ordering: .relaxed)
    didFail(error.description)
  }

  /// Says once in the log why something was refused that a user may have expected to work.
  func didRefuse(_ line: String) {
    if failures.withLock({ $0.isNew(line) }) { log.notice("\(line)") }
  }

  private func didFail(_ line: String, place: () -> Range<UInt64>? = { nil }) {
    let isNew = failures.withLock { failures in
      failures.last = line
      return failures.isNew(line)
    }
    guard isNew else { return }
    let range = place().map {
      "; the disk cannot be read from byte \($0.lowerBound) to \($0.upperBound - 1)"
    }
    log.error("\(line)\(range ?? "")")
  }
}
