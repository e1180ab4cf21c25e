/// A file with some of its bytes replaced in memory: what it will hold once its journal is written
/// out, while the file itself stays untouched.
public final class PatchedStorage: Storage {
  /// Bytes that stand in place of the file's from `at` on.
  public struct Patch: Sendable {
    public let at: FileOffset
    /// In bytes.
    public let count: UInt64
    /// Nil: zeros, however many, which take no memory.
    fileprivate let bytes: [UInt8]?

    public init(at: FileOffset, bytes: [UInt8]) {
      self.at = at
      self.bytes = bytes
      count = UInt64(bytes.count)
    }

    public init(zerosAt at: FileOffset, count: UInt64) {
      self.at = at
      self.count = count
      bytes = nil
    }

    fileprivate var end: UInt64 { at.bytes + count }
  }

  /// A part of the file that one patch stands for.
  private struct Piece: Sendable {
    var range: Range<UInt64>
    let patch: Int
  }

  public let size: UInt64
  private let inner: any Storage
  private let patches: [Patch]
  /// In order of their place, none empty, none overlapping another.
  private let pieces: [Piece]

  /// - Parameters:
  ///   - patches: later ones replace earlier ones where they overlap. None reaches past
  ///     `Limits.largestDisk`.
  ///   - size: of the whole; bytes past the end of `inner` that no patch gives are zeros.
  public init(_ inner: any Storage, patches: [Patch], size: UInt64) {
    self.inner = inner
    self.patches = patches
    self.size = size
    pieces = Self.pieces(of: patches)
  }

  /// Cuts the file wherever a patch starts or ends and gives each part to the last patch over it: the
  /// patches take what is still free from the last one to the first, and parts that are taken are
  /// stepped over at once.
  private static func pieces(of patches: [Patch]) -> [Piece] {
    var cuts: [UInt64] = []
    for patch in patches where patch.count > 0 { cuts += [patch.at.bytes, patch.end] }
    cuts.sort()
    var places: [UInt64] = []
    for cut in cuts where places.last != cut { places.append(cut) }
    var owner = [Int?](repeating: nil, count: places.count)
    // The next part that is free, or one that leads there.
    var next = Array(0...places.count)
    func free(from part: Int) -> Int {
      var part = part
      while next[part] != part {
        next[part] = next[next[part]]
        part = next[part]
      }
      return part
    }
    for (index, patch) in patches.enumerated().reversed() where patch.count > 0 {
      var part = free(from: firstIndex(in: places) { $0 >= patch.at.bytes })
      while part < places.count, places[part] < patch.end {
        owner[part] = index
        next[part] = part + 1
        part = free(from: part + 1)
      }
    }
    var pieces: [Piece] = []
    for (part, owner) in owner.enumerated() {
      guard let owner else { continue }
      // The last place is where a patch ends, and has no owner.
      let range = places[part]..<places[part + 1]
      if let last = pieces.last, last.patch == owner, last.range.upperBound == range.lowerBound {
        pieces[pieces.count - 1].range = last.range.lowerBound..<range.upperBound
      } else {
        pieces.append(Piece(range: range, patch: owner))
      }
    }
    return pieces
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
        if let bytes = patch.bytes {
          // In bounds: `piece` does not reach past the patch.
          _ = target.copy(from: bytes, at: Int(place.bytes - patch.at.bytes))
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

  public func way(to offset: FileOffset, count: UInt64) -> UInt64 {
    inner.way(to: offset, count: count)
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    // Past the end nothing can be read: that is no hole.
    guard offset.bytes < size else { return StorageRegion(isHole: false, length: max(1, limit)) }
    let (patch, run) = piece(at: offset.bytes, limit: max(1, min(limit, size - offset.bytes)))
    if let patch { return StorageRegion(isHole: patch.bytes == nil, length: run) }
    guard offset.bytes < inner.size else { return StorageRegion(isHole: true, length: run) }
    return try inner.region(at: offset, limit: run)
  }

  /// What stands at `place`: a patch, or (nil) the file or what is past its end; and for how long.
  private func piece(at place: UInt64, limit: UInt64) -> (patch: Patch?, length: UInt64) {
    let index = Self.firstIndex(in: pieces) { $0.range.upperBound > place }
    var limit = limit
    if index < pieces.count {
      let next = pieces[index]
      if next.range.contains(place) {
        return (patches[next.patch], min(limit, next.range.upperBound - place))
      }
      limit = min(limit, next.range.lowerBound - place)
    }
    if place < inner.size { limit = min(limit, inner.size - place) }
    return (nil, limit)
  }

  /// The first of sorted `elements` for which `isBehind` holds; their count where there is none.
  private static func firstIndex<Element>(
    in elements: [Element], where isBehind: (Element) -> Bool
  ) -> Int {
    var low = 0
    var high = elements.count
    while low < high {
      let middle = (low + high) / 2
      if isBehind(elements[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
