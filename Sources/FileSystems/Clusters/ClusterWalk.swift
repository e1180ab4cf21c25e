internal import DiskCore

/// How far a chain of clusters was followed, and what was learnt: every so many clusters the number of
/// one, so that any place is found from the checkpoint before it; and where the chain ends.
///
/// A chain that leads back into itself is found by Brent's method (R. P. Brent, "An improved Monte Carlo
/// factorization algorithm", 1980), which remembers one cluster: a repetition whose first cluster would
/// be number `n` is known before `3 × n` links were followed.
struct ClusterWalk: Sendable {
  /// How many links must be known before number `index` is sure not to be a repetition.
  static func links(provingThat index: UInt64) -> UInt64 { 3 * (index + 1) }

  /// What follows the last cluster.
  enum End: Sendable {
    case asItShould
    case damage(DiskError)
  }

  /// At four bytes each.
  static let mostCheckpoints: UInt64 = 1 << 16
  /// How many pages of the table one call may ask for: some seconds, where each link is in another
  /// page. A chain in use stays in a page for hundreds of links.
  static let mostPages = 1 << 18

  private(set) var known: UInt64
  /// Nil while the chain goes on.
  private(set) var end: End?
  private let first: UInt32
  private var last: UInt32
  private let spacing: UInt64
  private let wanted: UInt64
  private var checkpoints: [UInt32]
  private var remembered: UInt32
  private var lap: UInt64 = 1
  private var sinceRemembered: UInt64 = 0

  /// - Parameter wanted: how many clusters anybody will ask for.
  init(from first: UInt32, wanted: UInt64, in table: ClusterTable) {
    self.first = first
    self.wanted = wanted
    last = first
    remembered = first
    spacing = max(32, wanted / Self.mostCheckpoints + 1)
    if table.heap.contains(first) {
      known = 1
      checkpoints = [first]
    } else {
      known = 0
      checkpoints = []
      end = .damage(
        DiskError(
          .malformed, "a file starts at cluster \(first), which this volume does not have",
          path: table.path))
    }
  }

  /// Whether this has learnt more of the same chain than `other`.
  func isFurther(than other: ClusterWalk) -> Bool {
    other.end == nil && (end != nil || known > other.known)
  }

  /// Follows the chain until `target` clusters are known or its end is.
  ///
  /// - Throws: where the table cannot be read; what was learnt before stays.
  mutating func advance(to target: UInt64, in table: ClusterTable) throws(DiskError) {
    var held = ClusterTable.Held()
    while end == nil, known < target {
      guard held.changes < Self.mostPages else {
        throw DiskError(
          .unsupported,
          "the clusters of this file are too scattered to find this place at once; read it in order",
          path: table.path)
      }
      switch try table.link(after: last, &held) {
      case .next(let next): try take(next, in: table, &held)
      case .end: end = .asItShould
      case .free: stop("leads to a free cluster", in: table)
      case .bad: stop("leads to a bad cluster", in: table)
      case .outside(let cluster):
        stop("leads to cluster \(cluster), which this volume does not have", in: table)
      }
    }
  }

  /// Cluster number `index`, which is less than `known` and `wanted`.
  func cluster(
    _ index: UInt64, in table: ClusterTable, _ held: inout ClusterTable.Held
  ) throws(DiskError) -> UInt32 {
    var cluster = checkpoints[Int(index / spacing)]
    for _ in 0..<index % spacing {
      cluster = try Self.next(after: cluster, in: table, &held)
    }
    return cluster
  }

  private mutating func take(
    _ next: UInt32, in table: ClusterTable, _ held: inout ClusterTable.Held
  ) throws(DiskError) {
    if sinceRemembered == lap {
      remembered = last
      lap *= 2
      sinceRemembered = 0
    }
    guard next != remembered else {
      known = try length(beforeLoopOf: sinceRemembered + 1, in: table, &held)
      checkpoints.removeLast(max(0, checkpoints.count - Int((known + spacing - 1) / spacing)))
      return stop("leads back into itself", in: table)
    }
    if known < wanted, known % spacing == 0 { checkpoints.append(next) }
    last = next
    known += 1
    sinceRemembered += 1
  }

  /// How many clusters there are before the first that comes again, where a loop has `loop` of them.
  private func length(
    beforeLoopOf loop: UInt64, in table: ClusterTable, _ held: inout ClusterTable.Held
  ) throws(DiskError) -> UInt64 {
    var (behind, ahead) = (first, first)
    var heldAhead = ClusterTable.Held()
    for _ in 0..<loop { ahead = try Self.next(after: ahead, in: table, &heldAhead) }
    var before: UInt64 = 0
    while behind != ahead, before <= known {
      behind = try Self.next(after: behind, in: table, &held)
      ahead = try Self.next(after: ahead, in: table, &heldAhead)
      before += 1
    }
    return min(known, before + loop)
  }

  private static func next(
    after cluster: UInt32, in table: ClusterTable, _ held: inout ClusterTable.Held
  ) throws(DiskError) -> UInt32 {
    guard case .next(let next) = try table.link(after: cluster, &held) else {
      throw DiskError(.malformed, "a chain of clusters changed while it was read", path: table.path)
    }
    return next
  }

  private mutating func stop(_ what: String, in table: ClusterTable) {
    end = .damage(
      DiskError(
        .malformed, "the chain of clusters \(what)", path: table.path,
        offset: table.place(of: last)))
  }
}
