import DiskCore
import Foundation
import Synchronization
import TestSupport

@testable import ImageFormats

enum CursorMemory {
  /// What one takes where there may be `count`.
  static func atMost(_ count: Int) -> Int { DecodingMemory().forDecoders / count }
}

/// A stream that can be decoded from its start only. Each byte of block N is N, but blocks 0 and 1 are zeros; a block
/// takes a moment.
final class SlowCodec: StreamCodec {
  let blocks: Int
  let cursorMemory: Int
  /// Where it cannot be decoded further.
  let damage: UInt64?
  private let live = Mutex((now: 0, most: 0))

  init(blocks: Int, memory: Int, damage: UInt64? = nil) {
    self.blocks = blocks
    cursorMemory = memory
    self.damage = damage
  }

  static func byte(_ block: UInt64) -> UInt8 { block == 1 ? 0 : UInt8(block) }

  var size: UInt64 { UInt64(blocks) * SeekableStream.blockSize }
  /// How many decoders there were at once.
  var mostLive: Int { live.withLock { $0.most } }

  func stream(_ spilled: SpilledBlocks? = nil) -> SeekableStream {
    SeekableStream(
      MemoryStorage([1, 2, 3]), size: size, self,
      EntryPoints([EntryPoint(decoded: 0, stored: 0)], end: size, isComplete: true),
      isStrict: false, StreamActivity(Interruption()) { _ in }, DecodingMemory(), spilled: spilled)
  }

  func isRight(_ stream: SeekableStream, _ index: UInt64) -> Bool {
    var bytes = [UInt8](repeating: 255, count: Int(SeekableStream.blockSize))
    var elements = bytes.mutableSpan
    var buffer = elements.mutableBytes
    do throws(DiskError) {
      try stream.decode(index, into: &buffer)
    } catch {
      return false
    }
    return bytes == [UInt8](repeating: Self.byte(index), count: bytes.count)
  }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor {
    live.withLock { live in
      live.now += 1
      live.most = max(live.most, live.now)
    }
    return Cursor(self)
  }

  private final class Cursor: StreamCursor, @unchecked Sendable {
    let codec: SlowCodec
    private(set) var position: UInt64 = 0

    init(_ codec: SlowCodec) { self.codec = codec }

    deinit { codec.live.withLock { $0.now -= 1 } }

    var trailing: UInt64 { 0 }

    func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int {
      let block = position / SeekableStream.blockSize
      if let damage = codec.damage, position + UInt64(buffer.byteCount) > damage {
        throw DiskError(.malformed, "is damaged here", path: "stream", offset: position)
      }
      if position % SeekableStream.blockSize == 0 { usleep(1000) }
      let left = min(codec.size, (block + 1) * SeekableStream.blockSize) - position
      let count = Int(min(UInt64(buffer.byteCount), left))
      buffer.withUnsafeMutableBytes { bytes in
        _ = UnsafeMutableRawBufferPointer(rebasing: bytes[0..<count])
          .initializeMemory(as: UInt8.self, repeating: SlowCodec.byte(block))
      }
      position += UInt64(count)
      return count
    }
  }
}
