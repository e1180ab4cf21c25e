import DiskCore
import Foundation
import TestSupport
import Testing

@testable import ImageFormats

/// What it costs to read a stream without entry points at random places.
struct DecodingPassesTests {
  private static let block = Int(SeekableStream.blockSize)

  /// 16 readers at random places need about as many passes together as half of what each of them reads:
  /// twice as many where they are slow to ask again.
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
    // Without waiting for each other it would be half a pass for each read: 96.
    #expect(stream.decoded <= UInt64(20 * blocks * Self.block))
  }

  /// A reader from front to back, as the kernel asks for it, and what is decoded ahead of it: one decoder
  /// gives all of it, though there may be four.
  @Test func aSequentialReaderNeedsOneDecoder() throws {
    let codec = SlowCodec(blocks: 100, memory: CursorMemory.atMost(4))
    let stream = codec.stream()
    let storage = try DecodedStorage(stream, "slow", BlockCache())
    let piece = 128 << 10
    let next = Shared(0)
    let wrong = Threads.results(3) { _ in
      var wrong = 0
      while true {
        let at = next.changed { $0 += piece } - piece
        guard at < Int(codec.size) else { return wrong }
        let bytes = try? storage.bytes(at: FileOffset(UInt64(at)), count: piece)
        let byte = SlowCodec.byte(UInt64(at) / SeekableStream.blockSize)
        if bytes != [UInt8](repeating: byte, count: piece) { wrong += 1 }
      }
    }
    #expect(wrong.reduce(0, +) == 0)
    // Near the start two threads may each begin.
    #expect(stream.decoded <= codec.size + codec.size / 10)
  }

  /// Who asks for what is behind all decoders is not kept waiting by one who goes on and on.
  @Test func someoneBehind() throws {
    let codec = SlowCodec(blocks: 200, memory: CursorMemory.atMost(1))
    let stream = codec.stream()
    let place = Shared(0)
    let found = Threads.results(2) { thread in
      if thread == 0 {
        for block in 0..<codec.blocks {
          _ = codec.isRight(stream, UInt64(block))
          place.change { $0 = block }
        }
        return 0
      }
      while place.value < 20 { usleep(100) }
      guard codec.isRight(stream, 2) else { return -1 }
      return place.value
    }
    #expect((20..<180).contains(found[1]), "served when the other one was at \(found[1])")
  }

  /// Damage is an error for all who wait behind it, and for nobody before it.
  @Test func damage() throws {
    let codec = SlowCodec(
      blocks: 40, memory: CursorMemory.atMost(2), damage: 30 * SeekableStream.blockSize)
    let stream = codec.stream()
    let right = Threads.results(40) { codec.isRight(stream, UInt64($0)) }
    #expect(right == (0..<40).map { $0 < 30 })
    // It is remembered.
    let decoded = stream.decoded
    #expect(!codec.isRight(stream, 35))
    #expect(stream.decoded == decoded)
  }
}
