internal import Synchronization

/// A block that is decoded, or will be when somebody asks for it.
final class DecodedBlock: Sendable {
  let key: BlockCache.Key
  /// How many bytes it takes.
  let cost: Int
  private let bytes: Lazy<[UInt8]>
  private let demand = BlockDemand()
  private let isDecodedFlag = Atomic(false)
  /// How often it was read again, up to `mostUses`.
  private let uses = Atomic<UInt8>(0)
  /// Where the last read of it ended.
  private let end = Atomic<Int>(0)

  private static let mostUses: UInt8 = 3

  init(_ key: BlockCache.Key) {
    self.key = key
    let count = key.decoder.decodedBytes(of: key.index)
    cost = count
    bytes = Lazy { [demand] () throws(DiskError) -> [UInt8] in
      try Waiter { demand.isGone }.waiting { () throws(DiskError) -> [UInt8] in
        try [UInt8](uninitialized: count) { (buffer) throws(DiskError) in
          try key.decoder.decode(key.index, into: &buffer)
        }
      }
    }
  }

  var isDecoded: Bool { isDecodedFlag.load(ordering: .acquiring) }

  /// The bytes; decodes them, or waits for who does. That goes on as long as one waits for it.
  ///
  /// - Parameter waiter: who wants them; nil for somebody who waits however long it takes.
  func get(for waiter: Waiter?) throws(DiskError) -> [UInt8] {
    guard !isDecoded else { return try bytes.get() }
    while true {
      demand.add(waiter)
      do throws(DiskError) {
        let decoded = try bytes.get()
        isDecodedFlag.store(true, ordering: .releasing)
        demand.clear()
        return decoded
      } catch {
        // It can have been given up just before we came.
        guard error.isGivenUp, waiter.map({ !$0.isGone }) ?? true else { throw error }
      }
    }
  }

  /// Somebody reads `part`. Who goes on where the last read ended goes through the block once, in
  /// pieces: that is not a second use.
  func willRead(_ part: Range<Int>) {
    let last = end.exchange(part.upperBound, ordering: .relaxed)
    guard part.lowerBound != last else { return }
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
