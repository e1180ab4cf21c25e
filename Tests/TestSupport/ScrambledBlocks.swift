import DiskCore
import Synchronization

/// Blocks of a storage whose bytes are inverted: the simplest thing that has to be decoded.
public final class ScrambledBlocks: BlockDecoder {
  public let source: any Storage
  private let blockSize: Int
  private let decoded = Mutex<[UInt64: Int]>([:])

  public init(_ source: any Storage, blockSize: Int) {
    self.source = source
    self.blockSize = blockSize
  }

  /// How often each block was decoded.
  public var counts: [UInt64: Int] { decoded.withLock { $0 } }

  public func decodedBytes(of index: UInt64) -> Int { blockSize }

  public func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    decoded.withLock { $0[index, default: 0] += 1 }
    try source.read(at: FileOffset(index * UInt64(blockSize)), into: &buffer)
    buffer.withUnsafeMutableBytes { bytes in
      for place in bytes.indices { bytes[place] = ~bytes[place] }
    }
  }
}
