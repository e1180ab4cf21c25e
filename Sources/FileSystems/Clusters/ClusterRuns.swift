internal import DiskCore
internal import Synchronization

/// Some clusters of a file, beside each other in the volume; or why there are none.
enum ClusterRun {
  case clusters(first: UInt32, count: UInt64)
  /// The chain ended as it should before this place.
  case end
  /// What is here and behind it cannot be found.
  case damage(DiskError)
}

/// The clusters of one file or folder.
enum ClusterRuns: Sendable {
  case chain(ClusterChain)
  /// Without a chain (exFAT's `NoFatChain`): `count` clusters from `first` on.
  case contiguous(first: UInt32, count: UInt64, of: ClusterHeap)

  /// The clusters from number `index` of the file on, at most `limit` of them and at least one.
  func run(at index: UInt64, limit: UInt64) throws(DiskError) -> ClusterRun {
    switch self {
    case .chain(let chain): return try chain.run(at: index, limit: limit)
    case .contiguous(let first, let count, let heap):
      guard index < count else { return .end }
      let place = UInt64(first) + index
      guard first >= ClusterHeap.firstNumber, place < UInt64(heap.count) + 2 else {
        return .damage(
          DiskError(
            .malformed, "a file lies in cluster \(place), which this volume does not have"))
      }
      return .clusters(
        first: UInt32(place), count: min(limit, count - index, UInt64(heap.count) + 2 - place))
    }
  }

  /// How many clusters there are, as far as they can be found, and at most `limit`.
  func count(limit: UInt64) throws(DiskError) -> UInt64 {
    var found: UInt64 = 0
    while found < limit, case .clusters(_, let count) = try run(at: found, limit: limit - found) {
      found += count
    }
    return found
  }
}

/// A chain of clusters, followed as far as somebody asks.
///
/// No lock is held while the table is read: who has followed it furthest leaves what it learnt.
final class ClusterChain: Sendable {
  /// In clusters, so that an answer never takes long; the engine asks on.
  private static let longestRun: UInt64 = 1 << 16
  /// So that a short file is followed once.
  private static let fewestLinks: UInt64 = 1024

  private let table: ClusterTable
  /// What the owner will ask for, and of that what a chain without a loop can have, and one more.
  private let limit: UInt64
  private let wanted: UInt64
  private let furthest: Mutex<ClusterWalk>

  /// - Parameter wanted: how many clusters will be asked for at most.
  init(from first: UInt32, wanted: UInt64, in table: ClusterTable) {
    self.table = table
    limit = wanted
    self.wanted = min(wanted, UInt64(table.heap.count) + 1)
    furthest = Mutex(ClusterWalk(from: first, wanted: self.wanted, in: table))
  }

  /// See `ClusterRuns.run(at:limit:)`.
  func run(at index: UInt64, limit: UInt64) throws(DiskError) -> ClusterRun {
    guard index < self.limit else { return .end }
    let index = min(index, wanted - 1)
    let walk = try walked(to: index)
    guard index < walk.known else {
      if case .damage(let error) = walk.end { return .damage(error) }
      return .end
    }
    var held = ClusterTable.Held()
    let first = try walk.cluster(index, in: table, &held)
    var (last, count) = (first, 1 as UInt64)
    let most = min(limit, Self.longestRun, walk.known - index)
    while count < most, let link = try? table.link(after: last, &held), link == .next(last + 1) {
      last += 1
      count += 1
    }
    return .clusters(first: first, count: count)
  }

  /// What is known, with cluster `index` among it if there is one.
  private func walked(to index: UInt64) throws(DiskError) -> ClusterWalk {
    var walk = furthest.withLock { $0 }
    let needed = ClusterWalk.links(provingThat: index)
    guard walk.end == nil, walk.known < needed else { return walk }
    // Twice as far, so that the chain of a file that is read in order is taken up a few times only.
    let target = max(Self.fewestLinks, min(2 * needed, ClusterWalk.links(provingThat: wanted)))
    var failure: DiskError?
    do throws(DiskError) { try walk.advance(to: target, in: table) } catch { failure = error }
    furthest.withLock { if walk.isFurther(than: $0) { $0 = walk } }
    if let failure, index >= walk.known, walk.end == nil { throw failure }
    return walk
  }
}
