internal import Decoders
internal import Synchronization

/// A place in a compressed stream where decoding can begin.
struct EntryPoint: Sendable, Equatable {
  /// How many decoded bytes come before it.
  var decoded: UInt64
  /// Where it is in the file: in bits for deflate and bzip2, whose blocks begin anywhere in a byte;
  /// otherwise in bytes.
  var stored: UInt64
  /// What else the codec must know there; its own business.
  var detail: UInt64 = 0
  /// The bytes before it that what follows can refer to; none where nothing can.
  var window = PackedBytes()
}

/// The entry points of one stream that are known, and the stream's size once that is known.
///
/// A stream with an index has them all from the start. Of others they are found while they are
/// decoded, with distances such that windows take at most a 64th of the decoded size.
final class EntryPoints: Sendable {
  /// Found ones are no nearer to each other, in decoded bytes, unless the container says otherwise.
  static let spacing: UInt64 = 1 << 20
  /// A window of N bytes keeps the next one this many times N away.
  static let distancePerWindowByte: UInt64 = 64
  /// What the windows of one stream may take in memory, in bytes; beyond it every other one goes.
  static let mostWindowBytes = 16 << 20
  /// And how many entry points there may be.
  static let mostPoints = 1 << 18

  private struct State: Sendable {
    var points: [EntryPoint]
    var spacing = EntryPoints.spacing
    var windowBytes = 0
    var end: UInt64?
    var trailing: UInt64 = 0
    /// For as long as these many points and this size are what there is.
    var longestWay: (count: Int, size: UInt64, way: UInt64)?
  }

  /// Whether no more can be found: every point is known, and a decoder that began at one must end
  /// where the next one is.
  let isComplete: Bool
  /// How near, in decoded bytes, they may be to each other.
  let leastSpacing: UInt64
  private let state: Mutex<State>

  /// - Parameters:
  ///   - points: in order, the first one at decoded byte 0.
  ///   - end: the stream's size where it is known.
  ///   - trailing: as `trailing`.
  ///   - isComplete: as `isComplete`.
  ///   - spacing: how near, in decoded bytes, those that are found may be to each other.
  init(
    _ points: [EntryPoint], end: UInt64? = nil, trailing: UInt64 = 0, isComplete: Bool = false,
    spacing: UInt64 = EntryPoints.spacing
  ) {
    self.isComplete = isComplete
    leastSpacing = spacing
    var state = State(points: points, end: end, trailing: trailing)
    state.spacing = spacing
    state.windowBytes = points.reduce(0) { $0 + $1.window.packed.count }
    self.state = Mutex(state)
    self.state.withLock { Self.thin(&$0, isComplete) }
  }

  /// Of a stream of which nothing is known.
  convenience init(spacing: UInt64 = EntryPoints.spacing) {
    self.init([EntryPoint(decoded: 0, stored: 0)], spacing: spacing)
  }

  var all: [EntryPoint] { state.withLock { $0.points } }
  var count: Int { state.withLock { $0.points.count } }
  /// What the windows take, packed.
  var windowBytes: Int { state.withLock { $0.windowBytes } }

  /// What all of it takes, in bytes: a window is an allocation of its own.
  var memory: Int {
    state.withLock { state in
      state.windowBytes + state.points.count * MemoryLayout<EntryPoint>.stride
    }
  }

  /// How many bytes the stream decodes to; nil until that is known.
  var end: UInt64? { state.withLock { $0.end } }

  /// How many bytes that are not of it the file has behind the stream; 0 until its end is known.
  var trailing: UInt64 { state.withLock { $0.trailing } }

  func setEnd(_ end: UInt64, trailing: UInt64) {
    state.withLock { state in
      state.end = end
      state.trailing = trailing
    }
  }

  /// The last one at or before `offset`, and where the next one is.
  func last(before offset: UInt64) -> (point: EntryPoint, next: UInt64?) {
    state.withLock { state in
      let index = Self.index(of: offset, in: state.points)
      let next = index + 1 < state.points.count ? state.points[index + 1].decoded : nil
      return (state.points[index], next)
    }
  }

  /// The longest way, in decoded bytes, from one to a byte of a stream of `size` bytes.
  func longestWay(in size: UInt64) -> UInt64 {
    state.withLock { state in
      if let known = state.longestWay, known.count == state.points.count, known.size == size {
        return known.way
      }
      var way: UInt64 = 0
      var end = size
      for point in state.points.reversed() where point.decoded < end {
        way = max(way, end - point.decoded)
        end = point.decoded
      }
      state.longestWay = (state.points.count, size, way)
      return way
    }
  }

  /// Whether one at `offset` would be worth its room: making a window costs time.
  func wants(_ offset: UInt64) -> Bool {
    guard !isComplete else { return false }
    return state.withLock { state in
      let index = Self.index(of: offset, in: state.points)
      let last = state.points[index]
      let distance = max(
        state.spacing, UInt64(last.window.packed.count) * Self.distancePerWindowByte)
      guard offset - last.decoded >= distance else { return false }
      return index + 1 == state.points.count
        || state.points[index + 1].decoded - offset >= state.spacing
    }
  }

  /// Keeps a point that `wants(_:)` said yes to; another thread may have brought it meanwhile.
  func add(_ point: EntryPoint) {
    guard wants(point.decoded) else { return }
    state.withLock { state in
      let index = Self.index(of: point.decoded, in: state.points)
      guard state.points[index].decoded != point.decoded else { return }
      state.points.insert(point, at: index + 1)
      state.windowBytes += point.window.packed.count
      Self.thin(&state, isComplete)
    }
  }

  /// Every other one goes where there are too many.
  private static func thin(_ state: inout State, _ isComplete: Bool) {
    guard !isComplete else { return }
    while state.windowBytes > mostWindowBytes || state.points.count > mostPoints {
      state.spacing *= 2
      var kept: [EntryPoint] = []
      for point in state.points
      where kept.last.map({ point.decoded - $0.decoded >= state.spacing }) ?? true {
        kept.append(point)
      }
      // One window is never larger than the bound.
      guard kept.count < state.points.count else { continue }
      state.points = kept
      state.windowBytes = kept.reduce(0) { $0 + $1.window.packed.count }
    }
  }

  /// The last point at or before `offset`; the first one is at 0.
  private static func index(of offset: UInt64, in points: [EntryPoint]) -> Int {
    var low = 0
    var high = points.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if points[middle].decoded <= offset { low = middle } else { high = middle }
    }
    return low
  }
}
