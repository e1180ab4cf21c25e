internal import Synchronization

/// A virtual disk: a stack of layers, and the one engine that turns their answers into bytes.
public final class Disk: Sendable {
  /// Top first, never empty.
  public let layers: [any ImageLayer]
  /// In bytes: the top layer's.
  public let size: UInt64
  /// How many extents may still be looked at to count allocated bytes.
  let countingBudget = Atomic(Limits.countedExtents)
  private let blocks: BlockCache
  private let ahead: ReadAhead
  let longestWay: (@Sendable () -> UInt64)?
  /// Nil for a disk that is only read.
  let writer: DiskWriter?

  /// - Parameters:
  ///   - layers: top first, at least one.
  ///   - blocks: where decoded blocks are kept; disks over the same layers can share it.
  ///   - longestWay: how many bytes may have to be decoded before one of the stored ones can be read; nil
  ///     where each can be read at once.
  /// - Throws: `unsupported` for a disk larger than `Limits.largestDisk`.
  public init(
    layers: [any ImageLayer], blocks: BlockCache = BlockCache(),
    longestWay: (@Sendable () -> UInt64)? = nil
  ) throws(DiskError) {
    guard let top = layers.first else { throw DiskError(.invalidRequest, "a disk of no layers") }
    guard top.size <= Limits.largestDisk else {
      throw DiskError(
        .unsupported, "a disk of \(top.size) bytes is larger than \(Limits.largestDisk)",
        path: top.files.first?.path)
    }
    self.layers = layers
    self.blocks = blocks
    self.longestWay = longestWay
    ahead = ReadAhead(blocks)
    writer = (top as? any WritableLayer).map(DiskWriter.init)
    size = top.size
  }

  /// A disk with one more layer on top; what is decoded is kept for both together.
  public convenience init(_ layer: any ImageLayer, over disk: Disk) throws(DiskError) {
    try self.init(
      layers: [layer] + disk.layers, blocks: disk.blocks, longestWay: disk.longestWay)
  }

  /// A disk whose bytes come out of `disk`: a file inside it. What is decoded is kept for both together.
  public convenience init(_ layer: any ImageLayer, within disk: Disk) throws(DiskError) {
    try self.init(layers: [layer], blocks: disk.blocks, longestWay: disk.longestWay)
  }

  /// The whole disk as a window.
  public var whole: Window { Window(whole: self) }

  /// Every file that the disk's bytes come from, top layer first.
  public var files: [any Storage] { layers.flatMap(\.files) }

  /// Fills `buffer` with the disk's bytes from `offset` on.
  ///
  /// - Throws: `invalidRequest` where that is not wholly inside the disk; otherwise what made one of
  ///   the bytes unreadable. The buffer's content is then undefined.
  public func read(at offset: DiskOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    let wanted = buffer.byteCount
    guard offset.bytes <= size, UInt64(wanted) <= size - offset.bytes else {
      throw DiskError(
        .invalidRequest, "\(wanted) bytes reach past the end of the disk", offset: offset.bytes)
    }
    guard let writer else { return try assemble(offset, &buffer) }
    let epoch = writer.reads.begin()
    defer { writer.reads.end(epoch) }
    try assemble(offset, &buffer)
  }

  /// The disk's bytes from `offset` on; the caller checked the bounds.
  private func assemble(
    _ offset: DiskOffset, _ buffer: inout MutableRawSpan
  ) throws(DiskError) {
    let wanted = buffer.byteCount
    // A stored run that is still growing: neighbours in the file become one read.
    var run: (storage: any Storage, at: FileOffset, range: Range<Int>)? = nil
    var done = 0
    var isCompressed = false
    while done < wanted {
      let extent = try resolve(offset + UInt64(done), limit: UInt64(wanted - done)).extent
      let range = done..<done + Int(min(extent.length, UInt64(wanted - done)))
      done = range.upperBound
      if case .stored(let storage, let at) = extent.place {
        if let open = run, open.storage === storage, open.range.upperBound == range.lowerBound,
          open.at.adding(UInt64(open.range.count)) == at
        {
          run = (storage, open.at, open.range.lowerBound..<range.upperBound)
          continue
        }
        if let open = run { try Self.load(open.storage, open.at, open.range, &buffer) }
        run = (storage, at, range)
        continue
      }
      var piece = buffer._mutatingExtracting(range)
      switch extent.place {
      case .zero:
        piece.fillWithZeros()
      case .encoded(let decoder, let index, let at):
        if !isCompressed {
          isCompressed = true
          // Before the first one is decoded: others can be at the same time.
          ahead.willRead(offset.bytes..<offset.bytes + UInt64(wanted), of: self)
        }
        let block = try blocks.block(index, of: decoder, for: at..<at &+ range.count)
        guard block.copy(to: &piece, from: at) else {
          throw DiskError(
            .malformed, "a compressed block is shorter than a layer says",
            path: decoder.source.path)
        }
      case .unreadable(let error):
        throw error
      case .stored, .below:
        throw DiskError(.malformed, "a layer's answer was not resolved", offset: offset.bytes)
      }
    }
    if let open = run { try Self.load(open.storage, open.at, open.range, &buffer) }
  }

  private static func load(
    _ storage: any Storage, _ at: FileOffset, _ range: Range<Int>, _ buffer: inout MutableRawSpan
  ) throws(DiskError) {
    var piece = buffer._mutatingExtracting(range)
    try storage.read(at: at, into: &piece)
  }

  /// The first layer's answer that is not "ask below", and which layer gave it.
  ///
  /// - Parameters:
  ///   - offset: less than `size`.
  ///   - limit: how many bytes the caller cares for, at least 1; the answer is never longer.
  func resolve(
    _ offset: DiskOffset, limit: UInt64
  ) throws(DiskError) -> (extent: Extent, layer: Int) {
    var place = offset
    var limit = min(limit, size - offset.bytes)
    for (index, layer) in layers.enumerated() {
      // A layer that is shorter than the one above it reads as zeros past its end.
      guard place.bytes < layer.size else { return (Extent(.zero, length: limit), index) }
      // Only where a lower layer ends inside the limit: above it, the disk goes on with zeros.
      limit = min(limit, layer.size - place.bytes)
      let answer = try layer.extent(at: place, limit: limit)
      limit = min(limit, max(1, answer.length))
      guard case .below(let next) = answer.place else {
        return (Extent(answer.place, length: limit), index)
      }
      place = next
    }
    return (Extent(.zero, length: limit), layers.count - 1)
  }
}

extension MutableRawSpan {
  /// Takes all of its bytes from `source`, from `start` on; false, and nothing is taken, where they do
  /// not lie within it.
  mutating func copy(from source: [UInt8], at start: Int) -> Bool {
    let count = byteCount
    guard start >= 0, start <= source.count, count <= source.count - start else { return false }
    unsafe withUnsafeMutableBytes { target in
      unsafe source.withUnsafeBytes { bytes in
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
      }
    }
    return true
  }

  /// Sets every byte to 0.
  @usableFromInline
  mutating func fillWithZeros() {
    unsafe withUnsafeMutableBytes { bytes in
      _ = unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }
  }
}
