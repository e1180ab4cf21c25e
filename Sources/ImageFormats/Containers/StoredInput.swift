internal import Decoders
internal import DiskCore

/// A file's bytes one after the other, for a decoder.
struct StoredInput {
  /// How much is read at once, in bytes.
  static let piece = 128 << 10
  /// How many bytes in a row may hold nothing. Millions of members, frames or blocks of nothing, or padding
  /// without end, would otherwise be gone through before the first byte is given; no index is larger.
  static let mostEmpty = UInt64(Limits.largestMetadataRead)

  let storage: any Storage
  private var buffer: [UInt8] = []
  /// Where in the buffer the next byte is.
  private var start = 0
  /// Where in the file the buffer ends.
  private var end: UInt64
  /// How many were read since the last that was decoded.
  private var empty: UInt64 = 0

  /// From `offset` on.
  init(_ storage: any Storage, at offset: UInt64) {
    self.storage = storage
    end = offset
  }

  /// The first `count` bytes of `storage`, or all of a shorter one.
  static func head(of storage: any Storage, _ count: Int) throws(DiskError) -> ByteReader {
    let there = Int(min(UInt64(count), storage.size))
    return ByteReader(try storage.bytes(at: .start, count: there), path: storage.path)
  }

  /// Where in the file the next byte is.
  var place: UInt64 { end - UInt64(buffer.count - start) }

  /// Lets `decoder` take from the bytes that are in memory, and goes past what it took.
  ///
  /// - Parameter most: how many bytes it may take.
  mutating func step(
    _ decoder: any StreamDecoder, into output: inout MutableRawSpan, atMost most: Int = .max
  ) throws(DecodingFailure) -> StreamStep {
    let count = min(most, buffer.count - start)
    let step = try decoder.step(
      unsafe buffer.span.bytes.extracting(start..<start + count), into: &output)
    start += step.taken
    if step.given > 0 { empty = 0 }
    return step
  }

  /// What was taken besides `step` was decoded to something.
  mutating func decodedSome() { empty = 0 }

  /// Goes past `count` bytes, at most to the end of the file.
  mutating func skip(_ count: UInt64) {
    if count <= UInt64(buffer.count - start) {
      start += Int(count)
    } else {
      let place = place
      end = count < storage.size - min(place, storage.size) ? place + count : storage.size
      buffer = []
      start = 0
    }
  }

  /// Sees to it that at least `count` bytes are in memory where the file has that many left.
  ///
  /// - Returns: how many there are.
  /// - Throws: `malformed` where more than `mostEmpty` bytes hold nothing; what reading throws.
  mutating func fill(_ count: Int = 1) throws(DiskError) -> Int {
    let left = buffer.count - start
    guard left < count, end < storage.size else { return left }
    let more = Int(min(UInt64(max(Self.piece, count - left)), storage.size - end))
    buffer.removeFirst(start)
    start = 0
    try read(more)
    end += UInt64(more)
    empty += UInt64(more)
    guard empty <= Self.mostEmpty + UInt64(Self.piece) else {
      throw malformed("more than \(Self.mostEmpty) bytes in a row hold nothing")
    }
    return buffer.count
  }

  /// Appends the next `count` bytes of the file to the buffer, whose memory is used again.
  private mutating func read(_ count: Int) throws(DiskError) {
    let left = buffer.count
    let (storage, place) = (storage, FileOffset(end))
    buffer.reserveCapacity(left + count)
    buffer.append(contentsOf: repeatElement(0, count: count))
    var elements = buffer.mutableSpan
    var bytes = unsafe elements.mutableBytes
    var piece = bytes._mutatingExtracting(left..<left + count)
    do throws(DiskError) {
      try storage.read(at: place, into: &piece)
    } catch {
      buffer.removeLast(count)
      throw error
    }
  }

  /// The next `count` bytes, not taken; fewer at the end of the file.
  mutating func peek(_ count: Int) throws(DiskError) -> ArraySlice<UInt8> {
    let there = try fill(count)
    return buffer[start..<start + min(count, there)]
  }

  /// The next `count` bytes.
  ///
  /// - Throws: `truncated` where the file ends before.
  mutating func next(_ count: Int, of what: String) throws(DiskError) -> ByteReader {
    let place = place
    let bytes = try peek(count)
    guard bytes.count == count else { throw truncated(what) }
    start += count
    return ByteReader(Array(bytes), path: storage.path, base: place)
  }

  func truncated(_ what: String) -> DiskError {
    DiskError(.truncated, "the file ends within \(what)", path: storage.path, offset: storage.size)
  }

  func malformed(_ message: String, at place: UInt64? = nil) -> DiskError {
    DiskError(.malformed, message, path: storage.path, offset: place ?? self.place)
  }
}
