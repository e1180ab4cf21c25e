internal import Glibc
internal import Synchronization

/// Memory for decoded blocks that is used again: a fresh buffer of 1 MiB costs a quarter of what decoding
/// LZ4 into it does, in page faults.
final class BlockBuffers: Sendable {
  /// How many bytes wait to be used again, at most. A block leaves before the next one is decoded, so
  /// that a few are enough.
  private static let mostIdle = 2 << 20

  @safe private struct Buffer: @unchecked Sendable {
    let start: UnsafeMutableRawPointer
    let count: Int
  }

  private struct Idle: Sendable {
    var buffers: [Buffer] = []
    var bytes = 0
  }

  private let idle = Mutex(Idle())

  deinit {
    idle.withLock { idle in
      for buffer in idle.buffers { unsafe free(buffer.start) }
    }
  }

  /// A block of `count` bytes, which `fill` writes, every one of them; not cleared before.
  ///
  /// - Throws: what `fill` throws; `unavailable` where there is no memory.
  func block(
    _ count: Int, filledBy fill: (inout MutableRawSpan) throws(DiskError) -> Void
  ) throws(DiskError) -> BlockBytes {
    let used = idle.withLock { idle -> Buffer? in
      guard let last = idle.buffers.last, last.count == count else { return nil }
      idle.bytes -= count
      return idle.buffers.removeLast()
    }
    guard let start = unsafe used?.start ?? malloc(max(1, count)) else {
      throw DiskError(.unavailable, "no memory for a block of \(count) bytes")
    }
    let block = unsafe BlockBytes(start, count, self)
    try block.fill(fill)
    return block
  }

  fileprivate func giveBack(_ start: UnsafeMutableRawPointer, _ count: Int) {
    let unwanted = idle.withLock { idle -> [Buffer] in
      // Of another size than the last: a disk of two images. What is asked for now is kept.
      var unwanted: [Buffer] = []
      if let last = idle.buffers.last, last.count != count {
        unwanted = idle.buffers
        idle = Idle()
      }
      let buffer = unsafe Buffer(start: start, count: count)
      guard idle.bytes + count <= Self.mostIdle else { return unwanted + [buffer] }
      idle.buffers.append(buffer)
      idle.bytes += count
      return unwanted
    }
    for buffer in unwanted { unsafe free(buffer.start) }
  }
}

/// The bytes of a decoded block. Not changed once they were filled.
@safe final class BlockBytes: @unchecked Sendable {
  let count: Int
  private let start: UnsafeMutableRawPointer
  private let buffers: BlockBuffers

  fileprivate init(_ start: UnsafeMutableRawPointer, _ count: Int, _ buffers: BlockBuffers) {
    self.count = count
    unsafe self.start = start
    self.buffers = buffers
  }

  deinit { unsafe buffers.giveBack(start, count) }

  fileprivate func fill(
    _ fill: (inout MutableRawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    var bytes = unsafe MutableRawSpan(
      _unsafeBytes: UnsafeMutableRawBufferPointer(start: start, count: count))
    try fill(&bytes)
  }

  /// Fills `target` with the block's bytes from `offset` on; false, and nothing is written, where they
  /// do not lie within it.
  func copy(to target: inout MutableRawSpan, from offset: Int) -> Bool {
    let wanted = target.byteCount
    guard offset >= 0, offset <= count, wanted <= count - offset else { return false }
    unsafe target.withUnsafeMutableBytes { target in
      unsafe target.copyMemory(
        from: UnsafeRawBufferPointer(start: start + offset, count: wanted))
    }
    return true
  }
}
