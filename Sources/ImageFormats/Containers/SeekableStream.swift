internal import DiskCore
internal import Synchronization

/// A compressed stream as blocks of one size that can be asked for in any order.
///
/// To decode one, the live decoder nearest before it goes on, or a new one begins at the nearest entry
/// point, whichever has less to decode. Several decode at once; no lock is held meanwhile.
final class SeekableStream: BlockDecoder {
  /// In decoded bytes: what one read brings into the block cache.
  static let blockSize: UInt64 = 1 << 20
  /// Decoded and thrown away at once, and how often cancelling is looked for.
  static let piece = 256 << 10

  let source: any Storage
  /// In decoded bytes, as it was when the stream was opened.
  let size: UInt64
  let points: EntryPoints
  /// Whether the last block is an error where the stream goes on behind it: for those who would
  /// otherwise take a part for the whole.
  private let isStrict: Bool
  let codec: any StreamCodec
  private let cursors: CursorPool
  private let passed = PassedBlocks()
  private let damage = Mutex<[Damage]>([])
  let activity: StreamActivity

  /// What cannot be decoded because of something before it or in it.
  private struct Damage: Sendable {
    let range: Range<UInt64>
    let error: DiskError
  }

  init(
    _ source: any Storage, size: UInt64, _ codec: any StreamCodec, _ points: EntryPoints,
    isStrict: Bool, _ activity: StreamActivity
  ) {
    self.source = source
    self.size = size
    self.codec = codec
    self.points = points
    self.isStrict = isStrict
    self.activity = activity
    cursors = CursorPool(memory: codec.cursorMemory)
  }

  func decodedBytes(of index: UInt64) -> Int {
    let start = index * Self.blockSize
    return Int(min(Self.blockSize, size - min(size, start)))
  }

  /// How many bytes must be decoded to come to `offset` from the entry point before it.
  func distance(to offset: UInt64) -> UInt64 {
    offset - points.last(before: offset).point.decoded
  }

  /// What was found out meanwhile is kept for the next time.
  deinit { activity.keep(points) }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    if let bytes = passed.take(index), buffer.copy(from: bytes) { return }
    try activity.check()
    let start = index * Self.blockSize
    var done = 0
    while done < buffer.byteCount {
      let place = start + UInt64(done)
      try checkDamage(place)
      var piece = buffer._mutatingExtracting(done..<buffer.byteCount)
      let given = try decode(from: place, into: &piece)
      guard given > 0 else { throw endsEarly(place) }
      done += given
    }
    if start + UInt64(done) == size { try checkEnd() }
  }

  /// Decodes from `offset` on, to the end of the buffer or of what one cursor can give.
  ///
  /// - Returns: 0 at the end of the stream only.
  private func decode(
    from offset: UInt64, into buffer: inout MutableRawSpan
  ) throws(DiskError) -> Int {
    let cursor = try cursors.cursor(
      for: offset, until: offset + UInt64(buffer.byteCount), points
    ) { [codec, points] (point, next) throws(DiskError) -> any StreamCursor in
      try codec.cursor(
        at: point,
        length: points.isComplete ? (next ?? points.end).map { $0 - point.decoded } : nil,
        points, nil)
    }
    do throws(DiskError) {
      var given = 0
      if try skip(cursor, to: offset) { given = try cursor.read(into: &buffer) }
      if given == 0 {
        cursors.drop(cursor)
        let reached = cursor.position
        if !points.isComplete {
          points.setEnd(reached, trailing: cursor.trailing)
        } else if reached < size {
          throw DiskError(
            .malformed, "a part of the stream ends before its index says", path: source.path)
        }
      } else if points.isComplete,
        points.last(before: cursor.position).point.decoded > offset
          || cursor.position == points.end
      {
        // It ends where the next entry point is.
        cursors.drop(cursor)
      } else {
        cursors.giveBack(cursor)
      }
      if !points.isComplete { activity.keep(points) }
      return given
    } catch {
      cursors.drop(cursor)
      remember(error, at: cursor.position)
      throw error
    }
  }

  /// Goes on to `offset` and throws away what comes before it.
  ///
  /// - Returns: false where the stream ends before.
  private func skip(_ cursor: any StreamCursor, to offset: UInt64) throws(DiskError) -> Bool {
    guard cursor.position < offset else { return true }
    let first = cursor.position
    let keepsFrom =
      passed.isWorthwhile(
        distance: offset - first, toEntry: offset - points.last(before: offset).point.decoded)
      ? offset - min(offset, PassedBlocks.reach) : offset
    var scratch = [UInt8](repeating: 0, count: Self.piece)
    defer { activity.progress(nil) }
    while cursor.position < offset {
      try activity.check()
      activity.progress((cursor.position, offset))
      let place = cursor.position
      if place >= keepsFrom, place % Self.blockSize == 0, offset - place >= Self.blockSize {
        let block = try Self.read(cursor, Int(Self.blockSize))
        if block.count < Int(Self.blockSize) { return false }
        passed.keep(block, place / Self.blockSize)
        continue
      }
      // Up to where a block to keep begins.
      let border = (place / Self.blockSize + 1) * Self.blockSize
      let count = Int(min(UInt64(Self.piece), offset - place, border - place))
      var elements = scratch.mutableSpan
      var buffer = unsafe elements.mutableBytes
      var part = buffer._mutatingExtracting(0..<count)
      if try cursor.read(into: &part) == 0 { return false }
    }
    return true
  }

  private static func read(
    _ cursor: any StreamCursor, _ count: Int
  ) throws(DiskError) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: count)
    var elements = block.mutableSpan
    var buffer = unsafe elements.mutableBytes
    let given = try cursor.read(into: &buffer)
    block.removeLast(count - given)
    return block
  }

  /// Looks whether the stream ends where it was thought to.
  private func checkEnd() throws(DiskError) {
    guard points.end == nil else {
      if let end = points.end, end > size { try outgrown() }
      return
    }
    var byte = [UInt8](repeating: 0, count: 1)
    var elements = byte.mutableSpan
    var buffer = unsafe elements.mutableBytes
    // The end itself can be damaged: a wrong checksum behind the last byte.
    if try decode(from: size, into: &buffer) > 0 { try outgrown() }
  }

  private func outgrown() throws(DiskError) {
    activity.outgrown()
    guard isStrict else { return }
    // So that it has its true size the next time.
    var place = size
    var scratch = [UInt8](repeating: 0, count: Self.piece)
    while points.end == nil {
      var elements = scratch.mutableSpan
      var buffer = unsafe elements.mutableBytes
      place += UInt64(try decode(from: place, into: &buffer))
    }
    throw DiskError(
      .malformed,
      "the compressed stream holds \(place) bytes where its end says \(size); now that this is known, "
        + "the same again will read them all", path: source.path)
  }

  private func endsEarly(_ place: UInt64) -> DiskError {
    DiskError(
      .truncated,
      "the compressed stream ends after \(place) bytes; \(size) were expected", path: source.path,
      offset: source.size)
  }

  private func checkDamage(_ place: UInt64) throws(DiskError) {
    if let end = points.end, place >= end { throw endsEarly(end) }
    if let known = damage.withLock({ $0.first { $0.range.contains(place) } }) { throw known.error }
  }

  /// What is wrong at `place` keeps everything up to the next entry point from being read.
  private func remember(_ error: DiskError, at place: UInt64) {
    guard error.kind == .malformed || error.kind == .truncated else { return }
    let end = points.last(before: place).next ?? .max
    damage.withLock { damage in
      guard place < end, damage.count < 1024, !damage.contains(where: { $0.range.contains(place) })
      else { return }
      damage.append(Damage(range: place..<end, error: error))
    }
  }
}
