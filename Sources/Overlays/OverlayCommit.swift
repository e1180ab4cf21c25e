internal import Digests
public import DiskCore
internal import ImageFormats

/// Puts an overlay's changes into its base, a flat image or a qcow2 file, and empties the overlay.
///
/// It can be interrupted at any point, and done again. The overlay is marked before the base is
/// touched; it keeps all of its changes until they are on the disk in the base; then it gets the base's
/// new identity, is emptied, and loses the mark with that.
public struct OverlayCommit: Sendable {
  private static let piece: UInt64 = 1 << 20

  /// How many bytes there are to put into the base.
  public let total: UInt64
  /// What to know about the base.
  public let notes: [String]
  private let file: WritableFileStorage
  private let opened: OverlayOnBase
  private let base: String?
  private let allowedPaths: [String]
  private let target: CommitTarget

  /// Locks both and looks whether they go together; changes nothing.
  ///
  /// - Parameters:
  ///   - base: in place of what the overlay names.
  ///   - forcesBase: whether to take a base that is not what it was.
  /// - Throws: `busy` where somebody else uses one of them; `unsupported` for a base that takes no
  ///   changes, `malformed` for one that is damaged; `invalidRequest` for one that is not what it was.
  public init(
    path: String, base: String? = nil, allowedPaths: [String] = [], forcesBase: Bool = false
  ) throws(DiskError) {
    file = try WritableFileStorage(path: path)
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: path)
    let overlay = try StoredOverlay(path: path)
    guard overlay.file.identity == file.identity else {
      throw DiskError(.inputOutput, "another file was found in its place", path: path)
    }
    guard overlay.info.snapshotCount == 0 else {
      throw DiskError(
        .invalidRequest,
        "has snapshots, which are states of the base as it is; delete them first "
          + "('platter overlay snapshot delete \(shellWord(path)) NAME')", path: path)
    }
    self.base = base
    self.allowedPaths = allowedPaths
    opened = try OverlayOnBase(overlay, base: base, allowedPaths: allowedPaths)
    try opened.requireSameSize()
    target = try CommitTarget(opened)
    try opened.lockBase(target.use)
    notes =
      forcesBase
      ? []
      : try OverlayBase.check(try opened.comparison(), base: opened.basePath, overlay: path)
    try target.check()
    total = try overlay.heldBytes().all
  }

  /// - Parameter progress: is told of bytes that were put into the base.
  /// - Throws: what reading and writing throw. Nothing is lost then: it can be done again.
  public func run(progress: (UInt64) -> Void = { _ in }) throws(DiskError) {
    try Self.run(
      file, opened.overlay, from: opened.image.disk, into: target, progress: progress
    ) { () throws(DiskError) in
      // Its time of modification is another one now.
      let changed = try OverlayOnBase(
        try StoredOverlay(path: file.path), base: base, allowedPaths: allowedPaths)
      guard changed.baseFiles.map(\.identity) == opened.baseFiles.map(\.identity) else {
        throw DiskError(
          .inputOutput, "another base was found in its place; run commit again", path: file.path)
      }
      return OverlayBase(
        name: opened.recorded.name, format: opened.recorded.format,
        identity: try OverlayBase.records(of: changed.baseFiles))
    }
  }

  /// Each step is on the disk before the next one begins.
  ///
  /// - Parameters:
  ///   - file: that of `overlay`.
  ///   - source: the overlay on its base.
  ///   - base: what is to be recorded of the base as it is now.
  static func run(
    _ file: any WritableStorage, _ overlay: StoredOverlay, from source: Disk,
    into target: CommitTarget,
    progress: (UInt64) -> Void, base: () throws(DiskError) -> OverlayBase
  ) throws(DiskError) {
    // An overlay that was left open has lost clusters at most: its entries are right, and the counts
    // are made anew in the end.
    try mark(file, overlay, source, into: target)
    try target.write { (disk) throws(DiskError) in
      try overlay.forEachHeld { (held) throws(DiskError) in
        try put(held, of: source, into: disk, progress)
      }
    }
    try Overlay.tie(file, to: try base(), state: OverlayExtension.commitMark)
    try Overlay.makeEmpty(file)
  }

  /// Says in the overlay that a commit began, and what of the base stays as it is.
  private static func mark(
    _ file: any WritableStorage, _ overlay: StoredOverlay, _ source: Disk, into target: CommitTarget
  ) throws(DiskError) {
    let header = try OverlayHeader(of: file)
    guard !target.isFlat, var base = header.base, let record = base.identity.first else {
      return try Overlay.writeState(
        OverlayExtension.commitMark, to: file, at: header.statePlace)
    }
    base.identity[0] = try record.sampling(
      try Disk(layers: Array(source.layers.dropFirst())), outside: overlay)
    try Overlay.tie(
      file, to: base, state: OverlayExtension.commitMark | OverlayExtension.diskSamplesMark)
  }

  private static func put(
    _ held: StoredOverlay.Held, of source: Disk, into target: Disk, _ progress: (UInt64) -> Void
  ) throws(DiskError) {
    var place = held.range.lowerBound
    while place < held.range.upperBound {
      // Zeros are made in one call however many, and waited for in pieces.
      let count = min(held.isZero ? piece * 1024 : piece, held.range.upperBound - place)
      let offset = DiskOffset(place)
      if held.isZero {
        try target.zero(at: offset, length: count)
      } else {
        let bytes = try source.whole.bytes(at: offset, count: Int(count))
        try unsafe target.write(at: offset, from: bytes.span.bytes)
      }
      place += count
      progress(count)
    }
  }
}
