internal import Synchronization

/// The memory in which one open image keeps what it decoded, and what it decodes with: one account for
/// all of it.
///
/// The cache's size and `besides` is all there is. Decoders that stay alive, the windows of entry points
/// and the like claim theirs; blocks have the rest, at most the cache's size, and at least a little.
public final class DecodingMemory: Sendable {
  /// What there is besides the cache's size, in bytes: enough for the decoders of most formats.
  static let besides = 8 << 20
  /// What blocks have at least, in bytes, unless the cache is smaller: one for each reader, nearly.
  static let leastForBlocks = 8 << 20
  /// What the decoders of one stream may take, in bytes, whatever the cache's size; one there always is.
  private static let mostForDecoders = 24 << 20

  /// As the user gave it, in bytes.
  let cacheSize: Int
  private let claimed = Atomic<Int>(0)

  public init(cacheSize: Int = Limits.decodedBlocks) { self.cacheSize = cacheSize }

  /// What decoded blocks may take now, in bytes.
  var forBlocks: Int {
    let left = Self.besides - claimed.load(ordering: .relaxed)
    return min(cacheSize, max(Self.leastForBlocks, cacheSize &+ left))
  }

  /// What the live decoders of one stream should keep to, in bytes.
  public var forDecoders: Int { min(Self.mostForDecoders, Self.besides + cacheSize / 4) }

  /// Takes `bytes`, for as long as the claim lives. They are given whether there are as many or not:
  /// blocks make room for them as the next ones come.
  public func claim(_ bytes: Int) -> MemoryClaim { MemoryClaim(self, bytes) }

  fileprivate func add(_ bytes: Int) { claimed.add(bytes, ordering: .relaxed) }
}

/// A part of the memory for decoding that holds no blocks.
public final class MemoryClaim: Sendable {
  private let memory: DecodingMemory
  private let bytes: Atomic<Int>

  fileprivate init(_ memory: DecodingMemory, _ bytes: Int) {
    self.memory = memory
    self.bytes = Atomic(bytes)
    memory.add(bytes)
  }

  deinit { memory.add(-bytes.load(ordering: .relaxed)) }

  /// From now on it is of so many bytes.
  public func change(to new: Int) {
    let old = bytes.exchange(new, ordering: .relaxed)
    if old != new { memory.add(new - old) }
  }
}
