/// A file with some of its bytes replaced in memory: what it will hold once its journal is written
/// out, while the file itself stays untouched.
public final class PatchedStorage: Storage {
  /// Bytes that stand in place of the file's from `at` on.
  public struct Patch: Sendable {
    public let at: FileOffset
    public let bytes: [UInt8]

    public init(at: FileOffset, bytes: [UInt8]) {
      self.at = at
      self.bytes = bytes
    }

    fileprivate var range: Range<UInt64> { at.bytes..<at.bytes + UInt64(bytes.count) }
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
    var placed: [Patch] = []
    for patch in patches where !patch.bytes.isEmpty {
      var rest: [Patch] = []
      for earlier in placed { rest += earlier.outside(patch.range) }
      placed = rest + [patch]
    }
    self.patches = placed.sorted { $0.at < $1.at }
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
        target.copy(from: patch.bytes, at: Int(place.bytes - patch.at.bytes))
      } else if place.bytes >= inner.size {
        target.fillWithZeros()
      } else {
        try inner.read(at: place, into: &target)
      }
      done += Int(run)
    }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    let (patch, run) = piece(at: offset.bytes, limit: max(1, limit))
    if patch != nil { return StorageRegion(isHole: false, length: run) }
    guard offset.bytes < inner.size else { return StorageRegion(isHole: true, length: run) }
    return try inner.region(at: offset, limit: run)
  }

  /// What stands at `place`: a patch, or (nil) the file or what is past its end; and for how long.
  private func piece(at place: UInt64, limit: UInt64) -> (patch: Patch?, length: UInt64) {
    var low = 0
    var high = patches.count
    // The first patch that ends after `place`.
    while low < high {
      let middle = (low + high) / 2
      if patches[middle].range.upperBound <= place { low = middle + 1 } else { high = middle }
    }
    var limit = limit
    if low < patches.count {
      let next = patches[low]
      if next.range.contains(place) { return (next, min(limit, next.range.upperBound - place)) }
      limit = min(limit, next.range.lowerBound - place)
    }
    if place < inner.size { limit = min(limit, inner.size - place) }
    return (nil, limit)
  }
}

extension PatchedStorage.Patch {
  /// What is left of it where `range` is taken out.
  fileprivate func outside(_ range: Range<UInt64>) -> [Self] {
    guard self.range.overlaps(range) else { return [self] }
    var rest: [Self] = []
    if at.bytes < range.lowerBound {
      rest.append(Self(at: at, bytes: Array(bytes.prefix(Int(range.lowerBound - at.bytes)))))
    }
    if self.range.upperBound > range.upperBound {
      rest.append(
        Self(
          at: FileOffset(range.upperBound),
          bytes: Array(bytes.suffix(Int(self.range.upperBound - range.upperBound)))))
    }
    return rest
  }
}
