import DiskCore
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ImageFormats

/// A stream without entry points that can be decoded from its start only, and what it costs to read it at
/// random places.
struct DecodingPassesTests {
  private static let block = Int(SeekableStream.blockSize)

  /// 16 readers at random places need about as many passes as half of what each of them reads.
  @Test(arguments: [1, 2]) func manyReaders(_ decoders: Int) throws {
    let blocks = 64
    let reads = 12
    let codec = SlowCodec(blocks: blocks, memory: CursorMemory.atMost(decoders))
    let stream = codec.stream()
    let wrong = Threads.results(16) { thread in
      var random = SeededRandom(seed: UInt64(thread))
      return (0..<reads).count { _ in
        !codec.isRight(stream, UInt64(Int.random(in: 0..<blocks, using: &random)))
      }
    }
    #expect(wrong.reduce(0, +) == 0)
    #expect(codec.mostLive <= decoders)
    print("decoders", decoders, "passes", Double(stream.decoded) / Double(blocks * Self.block))
    #expect(stream.decoded <= UInt64(reads * blocks * Self.block))
  }
}

private enum CursorMemory {
  /// What one takes where there may be `count`.
  static func atMost(_ count: Int) -> Int { DecodingPasses.mostMemory / count }
}

/// Each byte of block N is N; a block takes a moment.
private final class SlowCodec: StreamCodec {
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

  var size: UInt64 { UInt64(blocks) * SeekableStream.blockSize }
  /// How many decoders there were at once.
  var mostLive: Int { live.withLock { $0.most } }

  func stream(_ spilled: SpilledBlocks? = nil) -> SeekableStream {
    SeekableStream(
      MemoryStorage([1, 2, 3]), size: size, self,
      EntryPoints([EntryPoint(decoded: 0, stored: 0)], end: size, isComplete: true),
      isStrict: false, StreamActivity { _ in }, spilled: spilled)
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
    return bytes.first == UInt8(index) && bytes.last == UInt8(index)
  }

  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints
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
      if position % SeekableStream.blockSize == 0 { usleep(200) }
      let count = Int(min(UInt64(buffer.byteCount), codec.size - position))
      buffer.withUnsafeMutableBytes { bytes in
        _ = bytes[0..<count].initialize(repeating: UInt8(block))
      }
      position += UInt64(count)
      return count
    }
  }
}
