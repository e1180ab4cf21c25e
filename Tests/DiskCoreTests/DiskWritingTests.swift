import DiskCore
import Foundation
import TestSupport
import Testing

@Suite struct DiskWritingTests {
  private func write(_ bytes: [UInt8], _ offset: Int, to disk: Disk) throws {
    try disk.write(at: DiskOffset(UInt64(offset)), from: bytes.span.bytes)
  }

  private func all(_ disk: Disk) throws -> [UInt8] {
    try disk.whole.bytes(at: .start, count: Int(disk.size))
  }

  @Test func bringsTheRestOfAUnitAlong() throws {
    let base = [UInt8](repeating: 7, count: 40)
    let overlay = MemoryOverlay(size: 44, unit: 16)
    let disk = try Disk(layers: [overlay, FlatLayer(MemoryStorage(base))])
    #expect(disk.isWritable)
    try write([1, 2, 3], 17, to: disk)
    var expected = base + [0, 0, 0, 0]
    expected.replaceSubrange(17..<20, with: [1, 2, 3])
    #expect(try all(disk) == expected)
    #expect(overlay.storage.bytes == Array(expected[16..<32]))
    // The last unit reaches past the disk's end, and the base's end lies in it.
    try write([9], 43, to: disk)
    expected[43] = 9
    #expect(try all(disk) == expected)
    #expect(
      Array(overlay.storage.bytes[16...]) == [7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 9, 0, 0, 0, 0])
    // In place from now on.
    try write([8], 40, to: disk)
    #expect(overlay.storage.bytes.count == 32 && overlay.open == 0)
  }

  @Test func wholeUnitsCopyNothing() throws {
    let below = FaultyStorage(MemoryStorage([UInt8](repeating: 1, count: 64)))
    let disk = try Disk(layers: [MemoryOverlay(size: 64, unit: 16), FlatLayer(below)])
    try write([UInt8](repeating: 2, count: 32), 16, to: disk)
    #expect(below.reads.isEmpty)
    try write([3], 63, to: disk)
    #expect(below.reads.count == 1 && below.reads[0].offset == 48)
  }

  @Test func refusals() throws {
    let plain = try Disk.holding([1, 2, 3])
    #expect(!plain.isWritable)
    #expect(throws: DiskError.self) { try write([1], 0, to: plain) }
    let disk = try Disk(layers: [MemoryOverlay(size: 30, unit: 16)])
    for (offset, count) in [(30, 1), (29, 2), (0, 31)] {
      do throws(DiskError) {
        try disk.write(
          at: DiskOffset(UInt64(offset)), from: [UInt8](repeating: 1, count: count).span.bytes)
        Issue.record("written past the end")
      } catch {
        #expect(error.systemError == ENOSPC)
      }
    }
    try write([], 30, to: disk)
    #expect(try all(disk) == [UInt8](repeating: 0, count: 30))
  }

  @Test func aFullDiskKeepsWhatWasThere() throws {
    let overlay = MemoryOverlay(size: 64, unit: 16, room: 32)
    let disk = try Disk(layers: [overlay, FlatLayer(MemoryStorage([UInt8](1...64)))])
    try write([UInt8](repeating: 0xAA, count: 32), 0, to: disk)
    do throws(DiskError) {
      try disk.write(at: DiskOffset(40), from: [1, 2].span.bytes)
      Issue.record("there is no room")
    } catch {
      #expect(error.systemError == ENOSPC)
    }
    #expect(overlay.open == 0)
    #expect(try all(disk) == [UInt8](repeating: 0xAA, count: 32) + [UInt8](33...64))
    try write([5], 3, to: disk)
    #expect(try disk.whole.bytes(at: DiskOffset(3), count: 1) == [5])
  }

  @Test func zeroing() throws {
    let base = [UInt8](repeating: 7, count: 70)
    for (offset, length) in [
      (0, 70), (3, 4), (16, 16), (10, 50), (15, 2), (60, 10), (69, 1), (32, 0),
    ] {
      let overlay = MemoryOverlay(size: 70, unit: 16)
      let disk = try Disk(layers: [overlay, FlatLayer(MemoryStorage(base))])
      try disk.zero(at: DiskOffset(UInt64(offset)), length: UInt64(length))
      var expected = base
      for place in offset..<offset + length { expected[place] = 0 }
      #expect(try all(disk) == expected, "\(offset) \(length)")
      #expect(overlay.storage.bytes.count <= 32, "whole units are not written")
    }
  }

  @Test(arguments: 0..<8 as Range<UInt64>) func againstAModel(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let size = Int.random(in: 1...3000, using: &random)
    let unit = [1, 16, 64, 512].randomElement(using: &random) ?? 16
    let base = ImageBytes.pattern(Int.random(in: 1...3000, using: &random), seed: seed)
    let disk = try Disk(layers: [
      MemoryOverlay(size: UInt64(size), unit: UInt64(unit)), FlatLayer(MemoryStorage(base)),
    ])
    var model = Array((base + [UInt8](repeating: 0, count: size)).prefix(size))
    for step in 0..<300 {
      let offset = Int.random(in: 0..<size, using: &random)
      let count = Int.random(in: 1...min(size - offset, 700), using: &random)
      if Int.random(in: 0..<5, using: &random) == 0 {
        try disk.zero(at: DiskOffset(UInt64(offset)), length: UInt64(count))
        model.replaceSubrange(offset..<offset + count, with: repeatElement(0, count: count))
      } else {
        let bytes = ImageBytes.pattern(count, seed: seed &* 1000 &+ UInt64(step))
        try write(bytes, offset, to: disk)
        model.replaceSubrange(offset..<offset + count, with: bytes)
      }
      if step % 50 == 0 { #expect(try all(disk) == model) }
    }
    #expect(try all(disk) == model)
  }

  /// Neighbours of one unit, written at once by many threads: nobody's bytes get lost.
  @Test func copyUpsOfOneUnitWaitForEachOther() throws {
    let base = [UInt8](repeating: 1, count: 4096)
    for _ in 0..<20 {
      let disk = try Disk(layers: [
        MemoryOverlay(size: 4096, unit: 512), FlatLayer(MemoryStorage(base)),
      ])
      _ = Threads.results(8) { thread in
        for place in stride(from: thread * 7, to: 4096 - 7, by: 56) {
          try? disk.write(
            at: DiskOffset(UInt64(place)),
            from: [UInt8](repeating: UInt8(thread + 2), count: 7).span.bytes)
        }
      }
      var expected = base
      for thread in 0..<8 {
        for place in stride(from: thread * 7, to: 4096 - 7, by: 56) {
          expected.replaceSubrange(
            place..<place + 7, with: repeatElement(UInt8(thread + 2), count: 7))
        }
      }
      #expect(try all(disk) == expected)
    }
  }

  /// A read that began before the flush can still be at the space that was given up.
  @Test func spaceIsGivenBackOnlyAfterTheReads() throws {
    let overlay = MemoryOverlay(size: 64, unit: 16)
    let slow = FaultyStorage(MemoryStorage([UInt8](repeating: 1, count: 64)))
    let disk = try Disk(layers: [overlay, FlatLayer(slow)])
    try disk.flush()
    #expect(overlay.reclaimed == [1])
    let flushed = Shared(false)
    slow.beforeRead { _ in
      if flushed.value { return }
      flushed.change { $0 = true }
      try? disk.flush()
    }
    _ = try all(disk)
    #expect(overlay.reclaimed == [1], "the read was going on")
    try disk.flush()
    #expect(overlay.reclaimed == [1, 3])
  }
}
