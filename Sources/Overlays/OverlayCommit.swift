internal import Digests
public import DiskCore
internal import ImageFormats

/// Puts an overlay's changes into its base, which is a flat image, and empties the overlay.
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
  private let target: Disk

  /// Locks both and looks whether they go together; changes nothing.
  ///
  /// - Parameters:
  ///   - base: in place of what the overlay names.
  ///   - forcesBase: whether to take a base that is not what it was.
  /// - Throws: `busy` where somebody else uses one of them; `unsupported` for a base that is not flat;
  ///   `invalidRequest` for one that is not what it was.
  public init(
    path: String, base: String? = nil, allowedPaths: [String] = [], forcesBase: Bool = false
  ) throws(DiskError) {
    file = try WritableFileStorage(path: path)
    try ImageLock.take(.writeAndResize, on: file.descriptor, path: path)
    let overlay = try StoredOverlay(path: path)
    guard overlay.file.identity == file.identity else {
      throw DiskError(.inputOutput, "another file was found in its place", path: path)
    }
    self.base = base
    self.allowedPaths = allowedPaths
    opened = try OverlayOnBase(overlay, base: base, allowedPaths: allowedPaths)
    try opened.requireSameSize()
    let layer = try Self.flatBase(of: opened)
    try opened.lockBase(.write)
    target = try Disk(layers: [layer])
    if forcesBase {
      notes = []
    } else {
      var comparison = try opened.recorded.comparison(with: opened.baseFiles)
      if overlay.info.isMarkedCommitting { try opened.forgive(&comparison) }
      notes = try OverlayBase.check(comparison, base: opened.basePath, overlay: path)
    }
    total = try overlay.heldBytes().all
  }

  private static func flatBase(of opened: OverlayOnBase) throws(DiskError) -> InPlaceLayer {
    do throws(DiskError) {
      return try InPlaceLayer(opened.baseLayers)
    } catch  where error.kind == .unsupported {
      let description = opened.baseLayers[0].description
      let kind = ([description.format] + [description.subformat].compactMap(\.self))
        .joined(separator: ", ")
      throw DiskError(
        .unsupported,
        "only flat images (raw, fixed VHD, flat VMDK) take changes in place, and the base "
          + "'\(printable(opened.basePath))' is \(opened.baseLayers.count > 1 ? "a chain" : kind); "
          + "'platter cat \(shellWord(opened.overlay.path)) > NEW.img' makes a new image of both",
        path: opened.overlay.path)
    }
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
  ///   - source: the overlay's disk.
  ///   - base: what is to be recorded of the base as it is now.
  static func run(
    _ file: any WritableStorage, _ overlay: StoredOverlay, from source: Disk, into target: Disk,
    progress: (UInt64) -> Void, base: () throws(DiskError) -> OverlayBase
  ) throws(DiskError) {
    // An overlay that was left open has lost clusters at most: its entries are right, and the counts
    // are made anew in the end.
    let header = try OverlayHeader(of: file)
    try Overlay.writeState(OverlayExtension.commitMark, to: file, at: header.statePlace)
    try overlay.forEachHeld { (held) throws(DiskError) in
      var place = held.range.lowerBound
      while place < held.range.upperBound {
        // Zeros are punched in one call however many, and waited for in pieces.
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
    try target.flush()
    try Overlay.tie(file, to: try base())
    try Overlay.makeEmpty(file)
  }
}

extension OverlayOnBase {
  /// Takes out what an interrupted commit explains: other content where the overlay holds something.
  fileprivate func forgive(_ comparison: inout BaseComparison) throws(DiskError) {
    let files = baseFiles
    for index in comparison.files.indices {
      var kept: [FileDifference] = []
      for difference in comparison.files[index].differences {
        if case .content(let offset, let length) = difference,
          try holds(offset..<offset + UInt64(length), of: files[comparison.files[index].index])
        {
          continue
        }
        kept.append(difference)
      }
      comparison.files[index].differences = kept
    }
    comparison.files.removeAll { $0.differences.isEmpty }
  }

  /// Whether the overlay holds a part of the disk that lies in these bytes of the base's file.
  private func holds(_ range: Range<UInt64>, of file: any Storage) throws(DiskError) -> Bool {
    let layer = baseLayers[0]
    var place: UInt64 = 0
    while place < layer.size {
      let extent = try layer.extent(at: DiskOffset(place), limit: layer.size - place)
      let length = min(layer.size - place, max(1, extent.length))
      if case .stored(let storage, let at) = extent.place, storage === file,
        let end = at.adding(length)
      {
        let shared = range.clamped(to: at.bytes..<end.bytes)
        if !shared.isEmpty {
          let start = place + (shared.lowerBound - at.bytes)
          var isHeld = false
          try overlay.forEachHeld(in: start..<start + UInt64(shared.count)) { _ in isHeld = true }
          if isHeld { return true }
        }
      }
      place += length
    }
    return false
  }
}
