/// Decoded blocks, kept while there is room, each decoded once however many readers ask.
public final class BlockCache: Sendable {
  private struct Key: Hashable, Sendable {
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

  private let blocks: LoadCache<Key, [UInt8]>

  /// - Parameter capacity: how many decoded bytes are kept at most.
  public init(capacity: Int = Limits.decodedBlocks) {
    blocks = LoadCache(
      capacity: capacity, cost: { $0.decoder.decodedBytes(of: $0.index) },
      load: { (key) throws(DiskError) -> [UInt8] in
        try [UInt8](count: key.decoder.decodedBytes(of: key.index)) {
          (buffer) throws(DiskError) in
          try key.decoder.decode(key.index, into: &buffer)
        }
      })
  }

  /// Block `index` of `decoder`, decoded.
  func block(_ index: UInt64, of decoder: any BlockDecoder) throws(DiskError) -> [UInt8] {
    try blocks.value(of: Key(decoder: decoder, index: index))
  }
}
