/// A file with some of its bytes replaced in memory: what it will hold once its journal is written
/// out, while the file itself stays untouched.
public final class PatchedStorage: Storage {
  /// Bytes that stand in place of the file's from `at` on.
  public struct Patch: Sendable {
    public let at: FileOffset
    public let count: UInt64
    /// The bytes are those of `source` from `start` on; zeros where there is none, which take no
    /// memory however many they are.
    fileprivate let source: [UInt8]?
    fileprivate let start: Int

    public init(at: FileOffset, bytes: [UInt8]) {
      self.init(at: at, count: UInt64(bytes.count), source: bytes, start: 0)
    }

    public init(at: FileOffset, zeros count: UInt64) {
      self.init(at: at, count: count, source: nil, start: 0)
    }

    private init(at: FileOffset, count: UInt64, source: [UInt8]?, start: Int) {
      self.at = at
      self.count = count
      self.source = source
      self.start = start
    }

    fileprivate var range: Range<UInt64> { at.bytes..<at.bytes + count }

    /// The part of it that stands in `wanted`; nil where there is none.
    fileprivate func clamped(to wanted: Range<UInt64>) -> Self? {
      let left = range.clamped(to: wanted)
      guard !left.isEmpty else { return nil }
      return Self(
        at: FileOffset(left.lowerBound), count: UInt64(left.count), source: source,
        start: start + (source == nil ? 0 : Int(left.lowerBound - at.bytes)))
    }
  }

  public let size: UInt64
  private let inner: any Storage
  /// In order of their place, none empty, none overlapping another.
  private let patches: [Patch]

  /// - Parameters:
  ///   - patches: later ones replace earlier ones where they overlap. None reaches past
  ///     `Limits.largestDisk`.
  ///   - size: of the whole; bytes past the end of `inner` that no patch gives are zeros.
  public init(_ inner: any Storage, patches: [Patch], size: UInt64) {
    self.inner = inner
    self.size = size
    self.patches = Self.row(patches.filter { $0.count > 0 })
  }

  /// The patches cut so that none overlaps another, in order of their place.
  ///
  /// Painted from the last to the first onto the pieces between all their edges, a piece only once: a
  /// hostile journal has millions of them.
  private static func row(_ patches: [Patch]) -> [Patch] {
    var edges: [UInt64] = []
    for place in patches.flatMap({ [$0.range.lowerBound, $0.range.upperBound] }).sorted()
    where place != edges.last { edges.append(place) }
    func edge(_ place: UInt64) -> Int {
      var low = 0
      var high = edges.count
      while low < high {
        let middle = (low + high) / 2
        if edges[middle] < place { low = middle + 1 } else { high = middle }
      }
      return low
    }
    var owners = [Int](repeating: -1, count: edges.count)
    // For each piece where to look for the next one that is still bare: a disjoint-set forest.
    var bare = Array(edges.indices) + [edges.count]
    func nextBare(_ piece: Int) -> Int {
      var piece = piece
      while bare[piece] != piece {
        bare[piece] = bare[bare[piece]]
        piece = bare[piece]
      }
      return piece
    }
    for (number, patch) in patches.enumerated().reversed() {
      let end = edge(patch.range.upperBound)
      var piece = nextBare(edge(patch.range.lowerBound))
      while piece < end {
        owners[piece] = number
        bare[piece] = piece + 1
        piece = nextBare(piece + 1)
      }
    }
    var row: [Patch] = []
    var piece = 0
    while piece < edges.count {
      let owner = owners[piece]
      let start = piece
      repeat { piece += 1 } while piece < edges.count && owners[piece] == owner
      guard owner >= 0, piece < edges.count,
        let left = patches[owner].clamped(to: edges[start]..<edges[piece])
      else { continue }
      row.append(left)
    }
    return row
  }

  public var path: String { inner.path }
  public var parts: [any Storage] { inner.parts }
  public var allocatedBytes: UInt64 { inner.allocatedBytes }
  public var modificationTime: (seconds: Int, nanoseconds: Int) { inner.modificationTime }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard offset.bytes <= size, UInt64(buffer.byteCount) <= size - offset.bytes else {
      throw DiskError(
        .truncated, "the file ends before the bytes that belong here", path: path,
        offset: offset.bytes)
    }
    var done = 0
    while done < buffer.byteCount {
      let place = offset + UInt64(done)
      let (patch, run) = piece(at: place.bytes, limit: UInt64(buffer.byteCount - done))
      var target = buffer._mutatingExtracting(done..<done + Int(run))
      if let patch {
        if let source = patch.source {
          target.copy(from: source, at: patch.start + Int(place.bytes - patch.at.bytes))
        } else {
          target.fillWithZeros()
        }
      } else if place.bytes >= inner.size {
        target.fillWithZeros()
      } else {
        try inner.read(at: place, into: &target)
      }
      done += Int(run)
    }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    // Past the end nothing can be read: that is no hole.
    guard offset.bytes < size else { return StorageRegion(isHole: false, length: max(1, limit)) }
    let (patch, run) = piece(at: offset.bytes, limit: max(1, min(limit, size - offset.bytes)))
    if let patch { return StorageRegion(isHole: patch.source == nil, length: run) }
    guard offset.bytes < inner.size else { return StorageRegion(isHole: true, length: run) }
    return try inner.region(at: offset, limit: run)
  }

  /// What stands at `place`: a patch, or (nil) the file or what is past its end; and for how long.
  private func piece(at place: UInt64, limit: UInt64) -> (patch: Patch?, length: UInt64) {
    let index = Self.index(in: patches, endingAfter: place)
    var limit = limit
    if index < patches.count {
      let next = patches[index]
      if next.range.contains(place) { return (next, min(limit, next.range.upperBound - place)) }
      limit = min(limit, next.range.lowerBound - place)
    }
    if place < inner.size { limit = min(limit, inner.size - place) }
    return (nil, limit)
  }

  /// The first of `patches` that ends after `place`.
  private static func index(in patches: [Patch], endingAfter place: UInt64) -> Int {
    var low = 0
    var high = patches.count
    while low < high {
      let middle = (low + high) / 2
      if patches[middle].range.upperBound <= place { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
