internal import Synchronization

/// Decodes what the sequential readers of one disk will ask for next.
///
/// It costs a look at a few numbers for a read that touched compressed blocks, and nothing for others.
final class ReadAhead: Sendable {
  /// A reader waits no longer for more than this, however fast it is.
  private static let longestWindow = 8 << 20

  private let streams: Mutex<SequentialStreams>
  private let blocks: BlockCache

  init(_ blocks: BlockCache) {
    self.blocks = blocks
    // What is ahead of a few readers must not push out what they have not read yet.
    streams = Mutex(
      SequentialStreams(longestWindow: UInt64(min(Self.longestWindow, blocks.capacity / 8))))
  }

  /// `range` of `disk` is being read, and some of it is compressed.
  func willRead(_ range: Range<UInt64>, of disk: Disk) {
    guard let next = streams.withLock({ $0.read(range) }) else { return }
    let wanted = next.clamped(to: 0..<disk.size)
    guard !wanted.isEmpty else { return }
    let blocks = blocks
    let waiter = Waiter.current
    blocks.threads.ahead { [weak disk] decode in
      var place = wanted.lowerBound
      while place < wanted.upperBound, let disk {
        // What cannot be resolved is told to who reads it.
        guard
          let extent = try? disk.resolve(
            DiskOffset(place), limit: wanted.upperBound - place
          ).extent
        else { return }
        place += max(1, extent.length)
        guard case .encoded(let decoder, let index, _) = extent.place else { continue }
        decode { blocks.decodeAhead(index, of: decoder, for: waiter) }
      }
    }
  }
}
