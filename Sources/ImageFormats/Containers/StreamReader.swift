internal import DiskCore

/// Reads a stream from any place on, together with everybody else who does.
///
/// No lock is held while something is decoded.
final class StreamReader: Sendable {
  let points: EntryPoints
  let damage = StreamDamage()
  private let source: any Storage
  let codec: any StreamCodec
  private let passes: DecodingPasses
  private let passed: PassedBlocks
  private let spilled: SpilledBlocks?
  private let activity: StreamActivity
  /// What entry points take.
  private let windows: MemoryClaim

  /// - Parameters:
  ///   - passed: takes blocks for those who ask out of order.
  ///   - spilled: takes whole blocks that are decoded, where there is one.
  init(
    _ source: any Storage, _ codec: any StreamCodec, _ points: EntryPoints,
    _ passed: PassedBlocks, _ spilled: SpilledBlocks?, _ activity: StreamActivity,
    _ memory: DecodingMemory
  ) {
    self.source = source
    self.codec = codec
    self.points = points
    self.passed = passed
    self.spilled = spilled
    self.activity = activity
    passes = DecodingPasses(each: codec.cursorMemory, memory)
    windows = memory.claim(points.memory)
  }

  /// How many decoders there are at most.
  var decoders: Int { passes.limit }

  /// Where the nearest decoder stands that could go on to `offset`.
  func nearest(before offset: UInt64) -> UInt64? { passes.nearest(before: offset) }

  /// How many bytes were decoded so far, those too that nobody wanted.
  var decoded: UInt64 { passes.decoded }

  /// Reads from `offset` on, to the end of the buffer or of what one decoder can give.
  ///
  /// - Parameter buffer: ends at a block's end at the latest.
  /// - Returns: how many bytes; 0 at the end of the stream only. Nil where another decoder failed that
  ///   was waited for: look whether that is known to be damage, and ask again.
  func read(
    from offset: UInt64, into buffer: inout MutableRawSpan
  ) throws(DiskError) -> Int? {
    let (point, next) = points.last(before: offset)
    switch try passes.turn(
      for: offset, entry: point.decoded, end: points.isComplete ? next : nil)
    {
    case .lookAgain: return nil
    case .drive(let pass):
      if pass.decoder.cursor == nil, take(offset, &buffer) {
        passes.end(pass, keeps: false)
        return buffer.byteCount
      }
      return try drive(pass, to: offset, &buffer)
    case .take(let bytes):
      var piece = buffer._mutatingExtracting(0..<min(buffer.byteCount, bytes.count))
      _ = piece.copy(from: bytes)
      return piece.byteCount
    }
  }

  /// Takes a whole block that a decoder came by after it was looked for, and before it was waited for.
  private func take(_ offset: UInt64, _ buffer: inout MutableRawSpan) -> Bool {
    guard offset % SeekableStream.blockSize == 0,
      let bytes = passed.take(offset / SeekableStream.blockSize)
    else { return false }
    return buffer.copy(from: bytes)
  }

  private func drive(
    _ pass: DecodingPasses.Pass, to offset: UInt64, _ buffer: inout MutableRawSpan
  ) throws(DiskError) -> Int {
    var isIntact = false
    do throws(DiskError) {
      let (given, isAtEnd) = try decode(pass, from: offset, &buffer, &isIntact)
      if given > 0 { passes.end(pass, keeps: !isAtEnd) } else { passes.fail(pass) }
      keepPoints()
      return given
    } catch {
      keepPoints()
      guard !isIntact else {
        // Where it stands somebody else can go on.
        passes.end(pass, keeps: true)
        throw error
      }
      if let place = pass.decoder.cursor?.position {
        damage.remember(error, at: place, upTo: points.last(before: place).next ?? .max)
      }
      passes.fail(pass)
      throw error
    }
  }

  private func keepPoints() {
    guard !points.isComplete else { return }
    activity.keep(points)
    windows.change(to: points.memory)
  }

  /// Brings the pass to `offset`, and reads from there on.
  ///
  /// - Parameter isIntact: whether it failed between two blocks, because nobody waits for them.
  /// - Returns: how many bytes it gave, 0 at the stream's end; and whether the decoder has no more.
  private func decode(
    _ pass: DecodingPasses.Pass, from offset: UInt64, _ buffer: inout MutableRawSpan,
    _ isIntact: inout Bool
  ) throws(DiskError) -> (given: Int, isAtEnd: Bool) {
    if pass.decoder.cursor == nil { try begin(pass, before: offset) }
    guard let cursor = pass.decoder.cursor else { return (0, true) }
    var given = 0
    if try walk(pass, cursor, to: offset, &isIntact) { given = try cursor.read(into: &buffer) }
    guard given > 0 else {
      guard !points.isComplete else {
        throw DiskError(
          .malformed, "a part of the stream ends before its index says", path: source.path)
      }
      points.setEnd(cursor.position, trailing: cursor.trailing)
      return (0, true)
    }
    let piece = buffer._mutatingExtracting(0..<given)
    offer(pass, cursor.position, piece.bytes, from: offset)
    // It is at its end where the next entry point is.
    let isAtEnd =
      points.isComplete
      && (points.last(before: cursor.position).point.decoded > offset
        || cursor.position == points.end)
    return (given, isAtEnd)
  }

  private func begin(
    _ pass: DecodingPasses.Pass, before offset: UInt64
  ) throws(DiskError) {
    // More of them can be known by now.
    let (point, next) = points.last(before: offset)
    let length = points.isComplete ? (next ?? points.end).map { $0 - point.decoded } : nil
    passes.begin(pass, with: try codec.cursor(at: point, length: length, points, nil))
  }

  /// Goes on to `offset`; what comes before it is for those who wait for it, for those who will ask for it
  /// soon, or thrown away.
  ///
  /// - Returns: false where the stream ends before.
  private func walk(
    _ pass: DecodingPasses.Pass, _ cursor: any StreamCursor, to offset: UInt64,
    _ isIntact: inout Bool
  ) throws(DiskError) -> Bool {
    guard cursor.position < offset else { return true }
    let size = SeekableStream.blockSize
    let keepsFrom = passed.first(
      from: cursor.position, to: offset,
      toEntry: offset - points.last(before: offset).point.decoded)
    var block: [UInt8] = []
    defer { activity.progress(nil) }
    while cursor.position < offset {
      // Between blocks, where the pass is where its decoder is.
      isIntact = true
      try Waiter.check()
      isIntact = false
      let place = cursor.position
      let end = min(offset, (place / size + 1) * size)
      if block.count != Int(end - place) { block = [UInt8](repeating: 0, count: Int(end - place)) }
      guard try fill(&block, from: cursor, target: offset) else { return false }
      // Kept before others can see that the decoder is past it: who comes for it then finds it.
      var isTaken = place >= keepsFrom && UInt64(block.count) == size
      if isTaken { passed.keep(block, place / size) }
      if let served = passes.advance(pass, to: end) {
        if isTaken { _ = passed.take(place / size) }
        passes.give(block, to: served)
        isTaken = true
      }
      if UInt64(block.count) == size {
        if let spilled, spilled.take(block, place / size) { isTaken = true }
      }
      if isTaken { block = [] }
    }
    return true
  }

  /// - Returns: false where the stream ends before.
  private func fill(
    _ block: inout [UInt8], from cursor: any StreamCursor, target: UInt64
  ) throws(DiskError) -> Bool {
    var done = 0
    while done < block.count {
      try activity.check()
      activity.progress((cursor.position, target))
      var elements = block.mutableSpan
      var bytes = unsafe elements.mutableBytes
      var piece = bytes._mutatingExtracting(
        done..<min(done + SeekableStream.piece, bytes.byteCount))
      let given = try cursor.read(into: &piece)
      if given == 0 { return false }
      done += given
    }
    return true
  }

  /// The reader's own bytes, which others can wait for too.
  private func offer(
    _ pass: DecodingPasses.Pass, _ place: UInt64, _ bytes: RawSpan, from offset: UInt64
  ) {
    let served = passes.advance(pass, to: place)
    let index = offset / SeekableStream.blockSize
    let isWhole =
      offset % SeekableStream.blockSize == 0 && bytes.byteCount == SeekableStream.blockSize
    let isSpilled = isWhole && spilled?.wants(index) ?? false
    guard served != nil || isSpilled else { return }
    let copy = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
    if let served { passes.give(copy, to: served) }
    if isSpilled { _ = spilled?.take(copy, index) }
  }
}
