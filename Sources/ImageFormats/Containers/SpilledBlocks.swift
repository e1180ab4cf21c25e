internal import DiskCore
internal import Glibc
internal import Synchronization

/// The blocks of one stream that were decoded once and are in a file, each at its place in the stream;
/// what is not there is a hole.
///
/// As a storage it has the decoded bytes, of which only those may be read that `has(_:)` is true of.
final class SpilledBlocks: Storage {
  /// Zeros of this size are not written, in bytes.
  private static let piece = 64 << 10
  /// What is farther in the stream is not kept: ext4's largest file. A bit for each block is in memory.
  private static let largestFile: UInt64 = 16 << 40

  private struct State: Sendable {
    /// A bit for each block: taken, and written.
    var taken: [UInt64] = []
    var written: [UInt64] = []
    var isLost = false
  }

  private let space: SpillSpace
  private let file: any WritableStorage
  private let state = Mutex(State())

  init(in space: SpillSpace) throws(DiskError) {
    self.space = space
    file = try space.file()
  }

  var path: String { file.path }
  var size: UInt64 { file.size }
  var allocatedBytes: UInt64 { file.allocatedBytes }
  var modificationTime: (seconds: Int, nanoseconds: Int) { file.modificationTime }

  /// Whether block `index` is there.
  func has(_ index: UInt64) -> Bool { state.withLock { Self.bit(index, of: $0.written) } }

  /// Whether block `index` would be taken.
  func wants(_ index: UInt64) -> Bool {
    index < Self.largestFile / SeekableStream.blockSize
      && state.withLock { !$0.isLost && !Self.bit(index, of: $0.taken) } && space.hasRoom
  }

  /// Takes a whole block to be written by and by, where it is wanted; who gives it does not wait.
  func take(_ block: [UInt8], _ index: UInt64) -> Bool {
    guard wants(index) else { return false }
    state.withLock { Self.set(index, in: &$0.taken) }
    let isTaken = space.enqueue { [self] in
      if write(block, index) {
        state.withLock { if !$0.isLost { Self.set(index, in: &$0.written) } }
      }
    }
    if !isTaken { state.withLock { Self.clear(index, in: &$0.taken) } }
    return isTaken
  }

  /// - Throws: what reading the file throws; then nothing is there any more.
  func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    do throws(DiskError) {
      try file.read(at: offset, into: &buffer)
      space.didRead(buffer.byteCount)
    } catch {
      state.withLock { state in
        state.isLost = true
        state.written = []
      }
      space.stop(error)
      throw error
    }
  }

  /// Whether what was there cannot be read: it has to be decoded again.
  var isLost: Bool { state.withLock { $0.isLost } }

  func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    try file.region(at: offset, limit: limit)
  }

  /// - Returns: whether all of it is in the file.
  private func write(_ block: [UInt8], _ index: UInt64) -> Bool {
    let place = FileOffset(index * SeekableStream.blockSize)
    let pieces = stride(from: 0, to: block.count, by: Self.piece).map { start in
      start..<min(block.count, start + Self.piece)
    }
    .filter { !block.isZero(in: $0) }
    guard space.reserve(UInt64(pieces.reduce(0) { $0 + $1.count })) else { return false }
    do throws(DiskError) {
      // So that zeros at its end can be read.
      let end = place.bytes + UInt64(block.count)
      if file.size < end { try file.resize(to: end) }
      for piece in pieces {
        try unsafe file.write(
          block.span.bytes.extracting(piece), at: place + UInt64(piece.lowerBound))
      }
      return true
    } catch {
      space.stop(error)
      return false
    }
  }

  private static func bit(_ index: UInt64, of bits: [UInt64]) -> Bool {
    let word = Int(index / 64)
    return word < bits.count && bits[word] >> (index % 64) & 1 == 1
  }

  private static func set(_ index: UInt64, in bits: inout [UInt64]) {
    let word = Int(index / 64)
    if word >= bits.count {
      bits += [UInt64](repeating: 0, count: word + 1 - bits.count)
    }
    bits[word] |= 1 << (index % 64)
  }

  private static func clear(_ index: UInt64, in bits: inout [UInt64]) {
    bits[Int(index / 64)] &= ~(1 << (index % 64))
  }
}

extension [UInt8] {
  /// Whether all bytes of a range are 0.
  fileprivate func isZero(in range: Range<Int>) -> Bool {
    guard let first = self[range].first else { return true }
    return unsafe withUnsafeBytes { bytes in
      guard first == 0, let base = bytes.baseAddress else { return false }
      let start = unsafe base + range.lowerBound
      // Each byte is the same as the one before it.
      return unsafe memcmp(start, start + 1, range.count - 1) == 0
    }
  }
}
