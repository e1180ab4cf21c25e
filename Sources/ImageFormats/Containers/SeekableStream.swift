internal import DiskCore

/// A compressed stream as blocks of one size that can be asked for in any order.
final class SeekableStream: BlockDecoder {
  /// In decoded bytes: what one read brings into the block cache.
  static let blockSize: UInt64 = 1 << 20
  /// Entry points are in one part that lie within so many decoded bytes.
  private static let leastPart: UInt64 = 8 << 20
  /// Decoded at once, and how often cancelling is looked for.
  static let piece = 256 << 10

  let source: any Storage
  /// In decoded bytes, as it was when the stream was opened.
  let size: UInt64
  /// What was decoded and is to be read from a file from now on; nil where nothing is kept so.
  let spilled: SpilledBlocks?
  /// Whether the last block is an error where the stream goes on behind it: for those who would
  /// otherwise take a part for the whole.
  private let isStrict: Bool
  private let reader: StreamReader
  private let passed: PassedBlocks
  let activity: StreamActivity
  var points: EntryPoints { reader.points }
  var codec: any StreamCodec { reader.codec }

  convenience init(
    _ source: any Storage, size: UInt64, _ codec: any StreamCodec, _ points: EntryPoints,
    isStrict: Bool, _ activity: StreamActivity, _ memory: DecodingMemory,
    spilled: SpilledBlocks? = nil
  ) {
    let passed = PassedBlocks(memory)
    self.init(
      source, size: size,
      StreamReader(source, codec, points, passed, spilled, activity, memory), passed,
      isStrict: isStrict, activity, spilled: spilled)
  }

  private init(
    _ source: any Storage, size: UInt64, _ reader: StreamReader, _ passed: PassedBlocks,
    isStrict: Bool, _ activity: StreamActivity, spilled: SpilledBlocks?
  ) {
    self.source = source
    self.size = size
    self.reader = reader
    self.passed = passed
    self.isStrict = isStrict
    self.activity = activity
    self.spilled = spilled
  }

  /// The same stream with another size: other blocks, from the same decoders.
  func resized(to size: UInt64) -> SeekableStream {
    SeekableStream(
      source, size: size, reader, passed, isStrict: isStrict, activity, spilled: spilled)
  }

  /// How many bytes its decoders gave so far, those too that nobody wanted.
  var decoded: UInt64 { reader.decoded }

  func decodedBytes(of index: UInt64) -> Int {
    let start = index * Self.blockSize
    return Int(min(Self.blockSize, size - min(size, start)))
  }

  /// Blocks behind one entry point; behind several where they are near each other, for a decoder that begins at
  /// one decodes the rest of a block that is another one's. What no decoder has come to yet is one part.
  func part(of index: UInt64) -> UInt64? {
    let (point, next) = points.last(before: index * Self.blockSize)
    guard next != nil || points.isComplete else { return .max }
    return point.decoded / Self.leastPart
  }

  var partsAtOnce: Int { reader.decoders }

  /// How many bytes must be decoded to come to `offset` from the entry point before it.
  func distance(to offset: UInt64) -> UInt64 {
    offset - points.last(before: offset).point.decoded
  }

  /// The same, or from a live decoder.
  func way(to offset: UInt64) -> UInt64 {
    min(distance(to: offset), reader.nearest(before: offset).map { offset - $0 } ?? .max)
  }

  /// What was found out meanwhile is kept for the next time.
  deinit { activity.keep(points) }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    if let bytes = passed.take(index), buffer.copy(from: bytes) {
      // Where it could not be taken when it was decoded.
      _ = spilled?.take(bytes, index)
      return
    }
    let start = index * Self.blockSize
    var done = 0
    while done < buffer.byteCount {
      let place = start + UInt64(done)
      var piece = buffer._mutatingExtracting(done..<buffer.byteCount)
      let given = try decode(from: place, into: &piece)
      guard given > 0 else { throw endsEarly(place) }
      done += given
    }
    if start + UInt64(done) == size { try checkEnd() }
  }

  /// Decodes from `offset` on, to the end of the buffer or of what one decoder can give.
  ///
  /// - Returns: 0 at the end of the stream only.
  private func decode(
    from offset: UInt64, into buffer: inout MutableRawSpan
  ) throws(DiskError) -> Int {
    while true {
      try activity.check()
      if let end = points.end, offset >= end {
        if offset < size { throw endsEarly(end) }
        return 0
      }
      try reader.damage.check(offset)
      if let given = try reader.read(from: offset, into: &buffer) { return given }
    }
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
    let place: UInt64
    do throws(DiskError) {
      place = try decodeToEnd()
    } catch {
      // Who reads what is shown has it all. What ended us can begin again.
      guard isStrict || error.kind == .inputOutput else { return }
      throw error
    }
    guard isStrict else { return activity.corrected() }
    throw DiskError(
      .malformed,
      "the compressed stream holds \(place) bytes where its end says \(size); now that this is known, "
        + "the same again will read them all", path: source.path)
  }

  /// Goes on from the size that was shown.
  ///
  /// - Returns: how many bytes there are.
  private func decodeToEnd() throws(DiskError) -> UInt64 {
    var place = size
    var scratch = [UInt8](repeating: 0, count: Self.piece)
    defer { activity.progress(nil) }
    while points.end == nil {
      try Waiter.check()
      activity.progress((place, nil))
      var elements = scratch.mutableSpan
      var buffer = unsafe elements.mutableBytes
      place += UInt64(try decode(from: place, into: &buffer))
    }
    return points.end ?? place
  }

  private func endsEarly(_ place: UInt64) -> DiskError {
    activity.corrected()
    return DiskError(
      .truncated,
      "the compressed stream ends after \(place) bytes; \(size) were expected", path: source.path,
      offset: source.size)
  }
}
