internal import Synchronization

/// A block that is decoded, or will be when somebody asks for it.
final class DecodedBlock: Sendable {
  let key: BlockCache.Key
  /// How many bytes it takes.
  let cost: Int
  private let bytes: Lazy<BlockBytes>
  private let demand = BlockDemand()
  private let isDecodedFlag = Atomic(false)
  /// How often it was read again, up to `mostUses`.
  private let uses = Atomic<UInt8>(0)
  /// Where the last read of it ended.
  private let end = Atomic<Int>(0)

  /// Whether it was decoded ahead, and nobody has read it yet.
  private let isAwaitedFlag: Atomic<Bool>

  /// Whether somebody is at it: its memory would not be free if it left.
  private let decoding: Decoding

  private static let mostUses: UInt8 = 3
  /// Who reads from front to back does it in pieces that come so much out of order, of a block that is as large:
  /// two requests of the kernel's usual read-ahead, in bytes.
  private static let slack = 256 << 10
  /// What a block takes besides its bytes: this, its places in tables and queues.
  static let overhead = 512

  /// A box, for the closure that decodes has no `self` yet.
  private final class Decoding: Sendable {
    let isGoingOn = Atomic<Bool>(false)
  }

  /// - Parameter isAhead: whether it is decoded for somebody who has not asked for it yet.
  init(_ key: BlockCache.Key, in buffers: BlockBuffers, isAhead: Bool = false) {
    self.key = key
    isAwaitedFlag = Atomic(isAhead)
    let count = key.decoder.decodedBytes(of: key.index)
    cost = count + Self.overhead
    let decoding = Decoding()
    self.decoding = decoding
    bytes = Lazy { [demand] () throws(DiskError) -> BlockBytes in
      decoding.isGoingOn.store(true, ordering: .relaxed)
      defer { decoding.isGoingOn.store(false, ordering: .relaxed) }
      return try Waiter { demand.isGone }.waiting { () throws(DiskError) -> BlockBytes in
        try buffers.block(count) { (buffer) throws(DiskError) in
          try key.decoder.decode(key.index, into: &buffer)
        }
      }
    }
  }

  var isDecoded: Bool { isDecodedFlag.load(ordering: .acquiring) }

  /// The bytes; decodes them, or waits for who does. That goes on as long as one waits for it.
  ///
  /// - Parameter waiter: who wants them; nil for somebody who waits however long it takes.
  func get(for waiter: Waiter?) throws(DiskError) -> BlockBytes {
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

  var isAwaited: Bool { isAwaitedFlag.load(ordering: .relaxed) }

  var isBeingDecoded: Bool { decoding.isGoingOn.load(ordering: .relaxed) }

  /// Somebody reads `part`. Who goes on where the last read ended, or about there in a large block, goes through
  /// it once, in pieces: that is not a second use.
  ///
  /// - Parameter isFirst: whether nobody asked for it before, now or ahead.
  func willRead(_ part: Range<Int>, isFirst: Bool = false) {
    let last = end.exchange(part.upperBound, ordering: .relaxed)
    let wasAwaited = isAwaited && isAwaitedFlag.exchange(false, ordering: .relaxed)
    let slack = cost > Self.slack ? Self.slack : 0
    guard !isFirst, !wasAwaited, abs(part.lowerBound - last) > slack else { return }
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
