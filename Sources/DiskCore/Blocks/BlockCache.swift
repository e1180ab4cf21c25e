internal import Synchronization

/// Decoded blocks, kept while there is room, each decoded once however many readers ask.
///
/// Finding a block takes the lock of one shard for one look; decoding is done without any lock. What
/// leaves is `BlockResidence`'s decision, how much memory there is `DecodingMemory`'s.
public final class BlockCache: Sendable {
  struct Key: Hashable, Sendable {
    let decoder: any BlockDecoder
    let index: UInt64

    static func == (a: Key, b: Key) -> Bool {
      a.index == b.index && a.decoder === b.decoder
    }

    func hash(into hasher: inout Hasher) {
      hasher.combine(ObjectIdentifier(decoder))
      hasher.combine(index)
    }
  }

  private final class Shard: Sendable {
    let blocks = Mutex<[Key: DecodedBlock]>([:])
  }

  /// What a cache has done, for `status.json`.
  public struct Figures: Sendable, Equatable {
    /// How many decoded bytes it may keep now, and keeps.
    public var capacity: Int
    public var bytes: Int
    /// How often a reader found its block, decoded or being decoded, and how often not.
    public var hits: UInt64
    public var misses: UInt64
    /// Blocks that were decoded before anybody asked.
    public var ahead: UInt64
  }

  /// What it shares with the decoders.
  public let memory: DecodingMemory
  let threads = DecodingThreads()
  private let shards: [Shard]
  private let residence = Mutex(BlockResidence())
  private let buffers = BlockBuffers()
  private let inFlight: BlocksInFlight
  private let hits = Atomic<UInt64>(0)
  private let misses = Atomic<UInt64>(0)
  private let ahead = Atomic<UInt64>(0)

  /// - Parameter capacity: how many decoded bytes are kept at most; one block is always kept.
  public init(capacity: Int = Limits.decodedBlocks) {
    memory = DecodingMemory(cacheSize: capacity)
    inFlight = BlocksInFlight(memory)
    // More than there are readers, so that two seldom meet.
    shards = (0..<16).map { _ in Shard() }
  }

  public var figures: Figures {
    Figures(
      capacity: memory.forBlocks, bytes: residence.withLock { $0.cost },
      hits: hits.load(ordering: .relaxed),
      misses: misses.load(ordering: .relaxed), ahead: ahead.load(ordering: .relaxed))
  }

  /// Block `index` of `decoder`, decoded, for a reader of the bytes `part` of it.
  func block(
    _ index: UInt64, of decoder: any BlockDecoder, for part: Range<Int>
  ) throws(DiskError) -> BlockBytes {
    let key = Key(decoder: decoder, index: index)
    // Only then: whoever decodes, even where somebody gave up before, has his turn.
    if let block = found(key), block.isDecoded {
      hits.add(1, ordering: .relaxed)
      block.willRead(part, isFirst: false)
      return try block.get(for: Waiter.current)
    }
    return try inFlight.decoding(decoder.decodedBytes(of: index)) { () throws(DiskError) in
      let (block, isNew) = entry(key)
      if isNew {
        misses.add(1, ordering: .relaxed)
      } else {
        hits.add(1, ordering: .relaxed)
      }
      block.willRead(part, isFirst: isNew)
      return try block.get(for: Waiter.current)
    }
  }

  /// Decodes a block that nobody has asked for yet, unless it is there. What is wrong with it is told
  /// to who asks.
  ///
  /// - Parameter waiter: whose reading it is ahead of.
  func decodeAhead(_ index: UInt64, of decoder: any BlockDecoder, for waiter: Waiter?) {
    let key = Key(decoder: decoder, index: index)
    guard waiter?.isGone != true else { return }
    // What follows it in its part cannot be decoded before it is.
    let waitsForOthers = decoder.part(of: index) != nil
    if let block = found(key), block.isDecoded || !waitsForOthers { return }
    _ = try? inFlight.decoding(decoder.decodedBytes(of: index)) { () throws(DiskError) in
      let (block, isNew) = entry(key, isAhead: true)
      guard isNew || waitsForOthers else { return }
      if isNew { ahead.add(1, ordering: .relaxed) }
      _ = try block.get(for: waiter)
    }
  }

  /// Whether a block is decoded.
  public func holds(_ index: UInt64, of decoder: any BlockDecoder) -> Bool {
    found(Key(decoder: decoder, index: index))?.isDecoded ?? false
  }

  private func found(_ key: Key) -> DecodedBlock? {
    shard(of: key).blocks.withLock { $0[key] }
  }

  private func entry(
    _ key: Key, isAhead: Bool = false
  ) -> (block: DecodedBlock, isNew: Bool) {
    let shard = shard(of: key)
    let found = shard.blocks.withLock { blocks -> (DecodedBlock, Bool) in
      if let block = blocks[key] { return (block, false) }
      let block = DecodedBlock(key, in: buffers, isAhead: isAhead)
      blocks[key] = block
      return (block, true)
    }
    guard found.1 else { return found }
    let capacity = memory.forBlocks
    for leaving in residence.withLock({ $0.admit(found.0, capacity: capacity) }) {
      self.shard(of: leaving.key).blocks.withLock { blocks in
        if blocks[leaving.key] === leaving { blocks[leaving.key] = nil }
      }
    }
    return found
  }

  private func shard(of key: Key) -> Shard {
    // Neighbours fall into different ones.
    shards[Int(truncatingIfNeeded: key.index ^ key.index >> 16) & (shards.count - 1)]
  }
}
