/// Which blocks stay. S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
/// 2023): a new block waits in a small queue, and stays only if it was read again by the time it would
/// leave; who reads a disk once, from end to end, gets no further than there. Blocks that leave are
/// remembered for a while, and stay when they come back.
///
/// What was decoded ahead waits apart until it is read: the small queue is shorter than what one reader is ahead.
///
/// Reading a block moves nothing: only admitting one takes the lock around this.
struct BlockResidence {
  private var awaited = BlockQueue()
  private var new = BlockQueue()
  private var kept = BlockQueue()
  private var left = RecentlyLeft()

  /// In bytes.
  var cost: Int { awaited.cost + new.cost + kept.cost }

  /// Takes `block` in, and gives those that leave for it. Blocks that are being decoded do not leave.
  ///
  /// - Parameter capacity: what all blocks may cost from now on.
  mutating func admit(_ block: DecodedBlock, capacity: Int) -> [DecodedBlock] {
    if block.isAwaited { awaited.append(block) } else { begin(block) }
    // Readers who have gone leave some unread: they are not to take more than half.
    while let oldest = awaited.oldest, !oldest.isAwaited || awaited.cost > capacity / 2 {
      _ = awaited.popFirst()
      begin(oldest)
    }
    var leaving: [DecodedBlock] = []
    // A tenth, as the paper found best.
    let probation = capacity / 10
    // Blocks of the first queue that were looked at and are being decoded.
    var busy = 0
    // Each can be passed a few times until its uses are used up.
    var looks = 8 * (new.count + kept.count)
    while cost > capacity, awaited.count + new.count + kept.count > 1,
      new.count + kept.count > 0, looks > 0
    {
      looks -= 1
      let isNewOnesTurn = new.cost > probation || kept.hasNothing(but: block)
      if isNewOnesTurn && busy < new.count || kept.count == 0 {
        guard let oldest = new.popFirst() else { break }
        if oldest === block {
          // Larger than the queue, and it has only come.
          kept.append(oldest)
        } else if oldest.isBeingDecoded {
          new.append(oldest)
          busy += 1
        } else if oldest.takeUse() {
          oldest.forgetUses()
          kept.append(oldest)
        } else {
          leaving.append(oldest)
          left.insert(oldest.key, among: new.count + kept.count)
        }
      } else {
        guard let oldest = kept.popFirst() else { break }
        if oldest === block || oldest.isBeingDecoded || oldest.takeUse() {
          kept.append(oldest)
        } else {
          leaving.append(oldest)
        }
      }
    }
    return leaving
  }

  private mutating func begin(_ block: DecodedBlock) {
    if left.take(block.key) { kept.append(block) } else { new.append(block) }
  }
}

/// First in, first out.
private struct BlockQueue {
  private var blocks: [DecodedBlock?] = []
  /// Those before it are gone already.
  private var first = 0
  private(set) var cost = 0

  var count: Int { blocks.count - first }

  func hasNothing(but block: DecodedBlock) -> Bool {
    count == 0 || count == 1 && blocks[first] === block
  }

  mutating func append(_ block: DecodedBlock) {
    blocks.append(block)
    cost += block.cost
  }

  var oldest: DecodedBlock? { first < blocks.count ? blocks[first] : nil }

  mutating func popFirst() -> DecodedBlock? {
    guard let block = oldest else { return nil }
    blocks[first] = nil
    first += 1
    cost -= block.cost
    // Moves each block at most once for each that left.
    if first > blocks.count / 2 {
      blocks.removeFirst(first)
      first = 0
    }
    return block
  }
}

/// The names of blocks that left after one look, as many as there are blocks.
private struct RecentlyLeft {
  private var keys: Set<BlockCache.Key> = []
  private var order: [BlockCache.Key] = []
  private var first = 0

  mutating func insert(_ key: BlockCache.Key, among resident: Int) {
    guard keys.insert(key).inserted else { return }
    order.append(key)
    while order.count - first > max(16, resident) {
      keys.remove(order[first])
      first += 1
    }
    if first > order.count / 2 {
      order.removeFirst(first)
      first = 0
    }
  }

  /// Whether it was among them; it is not any more.
  mutating func take(_ key: BlockCache.Key) -> Bool { keys.remove(key) != nil }
}
