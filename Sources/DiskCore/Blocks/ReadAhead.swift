internal import Synchronization

/// Decodes what the sequential readers of one disk will ask for next.
///
/// It costs a look at a few numbers for a read that touched compressed blocks, and nothing for others.
final class ReadAhead: Sendable {
  /// Enough for two frames of 4 MiB to be decoded beside the one that is read.
  private static let longestWindow = 16 << 20
  /// For how many blocks like it the cache must have room, for one to be decoded ahead.
  private static let leastResident = 4

  /// In decoded bytes: small blocks are handed to a thread together, which costs more than a block of
  /// 2 KiB does.
  private static let handful = 64 << 10

  private let streams: Mutex<SequentialStreams>
  private let blocks: BlockCache

  init(_ blocks: BlockCache) {
    self.blocks = blocks
    // What is ahead of a few readers must not push out what they have not read yet.
    streams = Mutex(
      SequentialStreams(
        longestWindow: UInt64(Self.longestWindow), room: UInt64(blocks.memory.forBlocks / 3)))
  }

  /// `range` of `disk` is being read, and some of it is compressed.
  func willRead(_ range: Range<UInt64>, of disk: Disk) {
    guard let coming = streams.withLock({ $0.read(range) }) else { return }
    let wanted = coming.clamped(to: 0..<disk.size)
    guard !wanted.isEmpty else { return }
    let blocks = blocks
    let waiter = Waiter.current
    blocks.threads.find { [weak disk] in
      var place = wanted.lowerBound
      var next: [DecodingThreads.Block] = []
      var part: UInt64?
      var bytes = 0
      func handOver() {
        blocks.threads.add(next, in: part)
        next.removeAll(keepingCapacity: true)
        bytes = 0
      }
      defer { handOver() }
      while place < wanted.upperBound, let disk {
        // What cannot be resolved is told to who reads it.
        guard
          let extent = try? disk.resolve(
            DiskOffset(place), limit: wanted.upperBound - place
          ).extent
        else { return }
        place += max(1, extent.length)
        // Where there is room for few, what comes would push out what is being read.
        guard case .encoded(let decoder, let index, _) = extent.place,
          decoder.decodedBytes(of: index) <= blocks.memory.forBlocks / Self.leastResident
        else { continue }
        let new = decoder.part(of: index)
        if let last = next.last,
          new != part || last.decoder !== decoder || new != nil && index != last.index + 1
        {
          handOver()
        }
        part = new
        next.append(
          DecodingThreads.Block(decoder: decoder, index: index, waiter: waiter, cache: blocks))
        bytes += decoder.decodedBytes(of: index)
        if part == nil, bytes >= Self.handful { handOver() }
      }
    }
  }
}
