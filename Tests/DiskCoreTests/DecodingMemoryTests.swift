import Foundation
import TestSupport
import Testing

@testable import DiskCore

/// How the memory for decoding is shared out.
@Suite struct DecodingMemoryTests {
  private static let mebibyte = 1 << 20

  @Test func blocksHaveWhatIsNotClaimed() {
    let memory = DecodingMemory(cacheSize: 64 << 20)
    #expect(memory.forBlocks == 64 << 20)
    let small = memory.claim(8 << 20)
    #expect(memory.forBlocks == 64 << 20, "that much there is besides the cache")
    small.change(to: 20 << 20)
    #expect(memory.forBlocks == 52 << 20)
    do {
      let large = memory.claim(40 << 20)
      #expect(memory.forBlocks == 12 << 20)
      large.change(to: 400 << 20)
      #expect(memory.forBlocks == 8 << 20, "some there are whatever is claimed")
    }
    #expect(memory.forBlocks == 52 << 20)
    small.change(to: 0)
    #expect(memory.forBlocks == 64 << 20)
  }

  @Test func smallAndHugeCaches() {
    for size in [0, 1, 4096, 1 << 20, Limits.largestBlockCache] {
      let memory = DecodingMemory(cacheSize: size)
      #expect(memory.forBlocks == size)
      let claim = memory.claim(1 << 30)
      #expect(memory.forBlocks == (size < 8 << 20 ? size : size + (8 << 20) - (1 << 30)))
      claim.change(to: 0)
      #expect(memory.forDecoders >= 8 << 20 && memory.forDecoders <= 24 << 20)
    }
  }

  /// Sixteen readers of large blocks: no more of them at once than there is room for, and all are served.
  @Test(arguments: [1, 3, 8, 16]) func blocksInFlight(mebibytes: Int) throws {
    let size = mebibytes * Self.mebibyte
    let inFlight = BlocksInFlight(DecodingMemory())
    let (now, most, done) = (Shared(0), Shared(0), Shared(0))
    _ = Threads.results(16) { _ in
      try? inFlight.decoding(size) { () throws(DiskError) in
        let count = now.changed { $0 += 1 }
        most.change { $0 = max($0, count) }
        usleep(5000)
        now.change { $0 -= 1 }
      }
      done.change { $0 += 1 }
    }
    #expect(done.value == 16)
    #expect(most.value <= max(1, 8 / mebibytes))
  }

  /// A block that is decoded from another one, of a container around the image, has its turn with it.
  @Test func oneInsideAnother() throws {
    let inFlight = BlocksInFlight(DecodingMemory())
    let right = Threads.results(8) { _ in
      (try? inFlight.decoding(8 << 20) { () throws(DiskError) in
        try inFlight.decoding(8 << 20) { () throws(DiskError) in true }
      }) == true
    }
    #expect(right == [Bool](repeating: true, count: 8))
  }

  /// After a failure the turn is the next one's.
  @Test func failures() throws {
    let inFlight = BlocksInFlight(DecodingMemory())
    for _ in 0..<3 {
      #expect(throws: DiskError.self) {
        try inFlight.decoding(16 << 20) { () throws(DiskError) in
          throw DiskError(.malformed, "bad")
        }
      }
    }
  }

  /// Buffers are used again, whatever sizes come.
  @Test func buffersOfAllSizes() throws {
    let buffers = BlockBuffers()
    var random = SeededRandom(seed: 9)
    var blocks: [(BlockBytes, UInt8)] = []
    for round in 0..<2000 {
      let count = [0, 1, 2048, 65_536, 1 << 20].randomElement(using: &random) ?? 0
      let value = UInt8(truncatingIfNeeded: round)
      let block = try buffers.block(count) { (buffer) throws(DiskError) in
        buffer.withUnsafeMutableBytes { bytes in
          for place in stride(from: 0, to: bytes.count, by: 997) { bytes[place] = value }
        }
      }
      blocks.append((block, value))
      if blocks.count > 8 { blocks.remove(at: Int.random(in: 0..<8, using: &random)) }
      for (block, value) in blocks where block.count > 0 {
        var target: [UInt8] = [~value]
        var elements = target.mutableSpan
        var bytes = elements.mutableBytes
        let at = Int.random(in: 0...(block.count - 1) / 997, using: &random) * 997
        #expect(block.copy(to: &bytes, from: at))
        #expect(target == [value])
      }
    }
    var target: [UInt8] = [0, 0]
    var elements = target.mutableSpan
    var bytes = elements.mutableBytes
    let block = try buffers.block(3) { (_) throws(DiskError) in }
    for (at, fits) in [(0, true), (1, true), (2, false), (3, false), (-1, false), (.max, false)] {
      #expect(block.copy(to: &bytes, from: at) == fits)
    }
  }
}
