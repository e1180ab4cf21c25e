internal import Synchronization

/// What a pass through one stream has found.
public final class StreamFindings: Sendable {
  struct Fault: Sendable {
    let kind: Damage.Kind
    /// In decoded bytes; empty where nothing of the content is concerned.
    let range: Range<UInt64>
    let error: DiskError
  }

  private struct State: Sendable {
    var counts = CheckCounts()
    var faults: [Fault] = []
    var unlisted = 0
    var end: UInt64?
  }

  private let state = Mutex(State())

  public init() {}

  /// A checksum was right, or so many were.
  public func right(_ kind: String, count: Int = 1) {
    state.withLock { $0.counts.add(kind, right: count) }
  }

  /// A checksum was wrong.
  ///
  /// - Parameter range: what it is of, in decoded bytes; empty for what is not content.
  public func wrong(_ kind: String, over range: Range<UInt64>, _ error: DiskError) {
    state.withLock { state in
      state.counts.add(kind, wrong: 1)
      Self.add(Fault(kind: .checksum, range: range, error: error), &state)
    }
  }

  /// A checksum could not be compared: what it is of cannot be decoded.
  public func unread(_ kind: String) { state.withLock { $0.counts.add(kind, unreadable: 1) } }

  /// Content that cannot be decoded.
  public func unreadable(_ range: Range<UInt64>, _ error: DiskError) {
    state.withLock { Self.add(Fault(kind: .unreadable, range: range, error: error), &$0) }
  }

  private static func add(_ fault: Fault, _ state: inout State) {
    if state.faults.count < Verification.mostListed {
      state.faults.append(fault)
    } else {
      state.unlisted += 1
    }
  }

  /// The stream was gone through to its end, behind so many decoded bytes.
  public func reachedEnd(_ end: UInt64) { state.withLock { $0.end = end } }

  /// How many bytes it decodes to; nil where damage keeps that from being known.
  public var end: UInt64? { state.withLock { $0.end } }
  public var isClean: Bool { state.withLock { $0.faults.isEmpty } }

  /// In the order of the stream.
  var faults: [Fault] {
    state.withLock { $0.faults.sorted { $0.range.lowerBound < $1.range.lowerBound } }
  }
  var counts: CheckCounts { state.withLock { $0.counts } }
  var unlisted: Int { state.withLock { $0.unlisted } }
}

/// How many checksums of each kind were right and wrong, in the order in which kinds came.
struct CheckCounts: Sendable {
  struct Count: Sendable {
    let kind: String
    var right = 0
    var wrong = 0
    var unreadable = 0
  }

  private(set) var all: [Count] = []

  mutating func add(_ kind: String, right: Int = 0, wrong: Int = 0, unreadable: Int = 0) {
    guard right + wrong + unreadable > 0 else { return }
    let found = all.firstIndex { $0.kind == kind }
    if found == nil { all.append(Count(kind: kind)) }
    let index = found ?? all.count - 1
    all[index].right += right
    all[index].wrong += wrong
    all[index].unreadable += unreadable
  }

  mutating func add(_ other: CheckCounts) {
    for count in other.all {
      add(count.kind, right: count.right, wrong: count.wrong, unreadable: count.unreadable)
    }
  }
}
