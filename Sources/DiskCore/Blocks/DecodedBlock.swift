internal import Synchronization

/// A block that is decoded, or will be when somebody asks for it.
final class DecodedBlock: Sendable {
  let key: BlockCache.Key
  /// How many bytes it takes.
  let cost: Int
  let bytes: Lazy<[UInt8]>
  /// How often it was read again, up to `mostUses`.
  private let uses = Atomic<UInt8>(0)
  /// Where the last read of it ended.
  private let end = Atomic<Int>(0)

  private static let mostUses: UInt8 = 3

  init(_ key: BlockCache.Key) {
    self.key = key
    let count = key.decoder.decodedBytes(of: key.index)
    cost = count
    bytes = Lazy { () throws(DiskError) -> [UInt8] in
      try [UInt8](uninitialized: count) { (buffer) throws(DiskError) in
        try key.decoder.decode(key.index, into: &buffer)
      }
    }
  }

  /// Somebody reads `part`. Who goes on where the last read ended goes through the block once, in
  /// pieces: that is not a second use.
  ///
  /// - Parameter isFirst: whether nobody asked for it before, now or ahead.
  func willRead(_ part: Range<Int>, isFirst: Bool = false) {
    let last = end.exchange(part.upperBound, ordering: .relaxed)
    guard !isFirst, part.lowerBound != last else { return }
    let count = uses.load(ordering: .relaxed)
    if count < Self.mostUses { uses.store(count + 1, ordering: .relaxed) }
  }

  /// Whether it was read again since it was last asked; each yes uses up one read.
  func takeUse() -> Bool {
    let count = uses.load(ordering: .relaxed)
    guard count > 0 else { return false }
    uses.store(count - 1, ordering: .relaxed)
    return true
  }

  func forgetUses() { uses.store(0, ordering: .relaxed) }
}

extension [UInt8] {
  /// `count` bytes that `fill` writes, every one of them; not cleared before.
  fileprivate init(
    uninitialized count: Int, filledBy fill: (inout MutableRawSpan) throws(DiskError) -> Void
  ) throws(DiskError) {
    var failure: DiskError? = nil
    unsafe self.init(unsafeUninitializedCapacity: count) { buffer, initialised in
      var bytes = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(buffer))
      do throws(DiskError) {
        try fill(&bytes)
        initialised = count
      } catch {
        failure = error
        initialised = 0
      }
    }
    if let failure { throw failure }
  }
}
