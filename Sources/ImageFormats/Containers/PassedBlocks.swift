internal import DiskCore
internal import Synchronization

/// The last blocks that a decoder came by on its way to another one.
///
/// Readers that run ahead ask for neighbouring blocks in any order; where entry points are far apart,
/// going back for the one before would mean to decode all of it again.
final class PassedBlocks: Sendable {
  /// How many bytes before its target a decoder keeps what it comes by.
  static let reach = 4 * SeekableStream.blockSize
  /// How many blocks are kept, oldest out first.
  private static let most = 8

  private let blocks = Mutex<[(index: UInt64, bytes: [UInt8])]>([])
  private let claim: MemoryClaim

  init(_ memory: DecodingMemory) { claim = memory.claim(0) }

  /// From where on to keep what a decoder comes by on its way from `start` to `target`, which is `toEntry`
  /// behind its entry point; `target` where nothing.
  func first(from start: UInt64, to target: UInt64, toEntry: UInt64) -> UInt64 {
    guard target - start >= SeekableStream.blockSize, toEntry > Self.reach else {
      return target
    }
    return target - min(target, Self.reach)
  }

  func keep(_ bytes: [UInt8], _ index: UInt64) {
    blocks.withLock { blocks in
      if blocks.count == Self.most { blocks.removeFirst() }
      blocks.append((index, bytes))
      claim.change(to: blocks.count * Int(SeekableStream.blockSize))
    }
  }

  /// Gives a block to the cache, which keeps it from then on.
  func take(_ index: UInt64) -> [UInt8]? {
    blocks.withLock { blocks in
      let bytes = blocks.firstIndex { $0.index == index }.map { blocks.remove(at: $0).bytes }
      claim.change(to: blocks.count * Int(SeekableStream.blockSize))
      return bytes
    }
  }
}

extension MutableRawSpan {
  /// Takes all of its bytes from `source`, from `start` on; false where there are fewer.
  mutating func copy(from source: [UInt8], startingAt start: Int = 0) -> Bool {
    let count = byteCount
    guard start >= 0, start <= source.count, source.count - start >= count else { return false }
    unsafe withUnsafeMutableBytes { target in
      unsafe source.withUnsafeBytes { bytes in
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
      }
    }
    return true
  }
}
