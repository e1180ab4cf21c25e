import DiskCore
import Foundation
import Synchronization
import TestSupport
import Testing

/// All writers of a disk held still while something is done.
@Suite struct HoldingWritesTests {
  private static let size = 4096

  private func disk(_ storage: MemoryStorage? = nil) throws -> Disk {
    try Disk(layers: [
      MemoryOverlay(size: UInt64(Self.size), unit: 16),
      FlatLayer(storage ?? MemoryStorage([UInt8](repeating: 1, count: Self.size))),
    ])
  }

  /// Writers who never pause, and as many holds in a row as the test waits for: inside, nothing moves.
  @Test(.timeLimit(.minutes(10))) func nothingChangesMeanwhile() throws {
    let disk = try disk()
    let isOver = Shared(false)
    let written = Shared(0)
    let torn = Threads.results(6) { thread -> Int in
      guard thread > 1 else {
        // Two who hold: never at once, and neither is kept waiting for ever.
        var torn = 0
        for _ in 0..<50 {
          try? disk.holdingWrites { () throws(DiskError) in
            let before = try disk.whole.bytes(at: .start, count: Self.size)
            let changes = disk.changes
            usleep(500)
            let after = try disk.whole.bytes(at: .start, count: Self.size)
            if before != after || changes != disk.changes { torn += 1 }
            // Each write is of one byte, over and over: held between two writes, none is half there.
            for start in stride(from: 0, to: Self.size, by: 1024)
            where Set(after[start..<start + 1024]).count > 1 { torn += 1 }
          }
          usleep(1000)
        }
        isOver.change { $0 = true }
        return torn
      }
      var value: UInt8 = 2
      while !isOver.value {
        let place = DiskOffset(UInt64(thread - 2) * 1024)
        if value == 0 {
          try? disk.zero(at: place, length: 1024)
        } else {
          let bytes = [UInt8](repeating: value, count: 1024)
          try? disk.write(at: place, from: bytes.span.bytes)
        }
        value &+= 1
        written.change { $0 += 1 }
      }
      return 0
    }
    #expect(torn.reduce(0, +) == 0)
    #expect(written.value > 100, "writers go on between the holds")
  }

  @Test(.timeLimit(.minutes(10))) func readsAndFlushesGoOn() throws {
    let disk = try disk()
    try disk.holdingWrites { () throws(DiskError) in
      let done = Threads.results(2) { thread -> Bool in
        if thread == 0 { return (try? disk.flush()) != nil }
        return (try? disk.whole.bytes(at: .start, count: 100)) == [UInt8](repeating: 1, count: 100)
      }
      #expect(done == [true, true])
    }
  }

  /// A write that brings the rest of a unit along is under way: it is waited for.
  @Test(.timeLimit(.minutes(10))) func aWriteUnderWayEndsFirst() throws {
    let slow = FaultyStorage(MemoryStorage([UInt8](repeating: 1, count: 64)))
    let disk = try Disk(layers: [MemoryOverlay(size: 64, unit: 16), FlatLayer(slow)])
    let order = Shared<[String]>([])
    let began = DispatchSemaphore(value: 0)
    slow.beforeRead { _ in
      began.signal()
      usleep(50_000)
      order.change { $0.append("write") }
    }
    let results = Threads.results(2) { thread -> Bool in
      if thread == 0 {
        return (try? disk.write(at: DiskOffset(3), from: [9].span.bytes)) != nil
      }
      began.wait()
      return (try? disk.holdingWrites { order.change { $0.append("hold") } }) != nil
    }
    #expect(results == [true, true])
    #expect(order.value.last == "hold")
  }

  @Test func whatTheBodyThrowsLeavesTheDiskWritable() throws {
    let disk = try disk()
    let before = disk.changes
    #expect(throws: DiskError.self) {
      try disk.holdingWrites { () throws(DiskError) -> Void in
        throw DiskError(.invalidRequest, "no")
      }
    }
    #expect(disk.changes != before, "what was counted of it is counted again")
    try disk.write(at: .start, from: [5].span.bytes)
    #expect(try disk.whole.bytes(at: .start, count: 1) == [5])
    #expect(throws: DiskError.self) {
      try Disk.holding([1, 2]).holdingWrites {}
    }
  }
}
