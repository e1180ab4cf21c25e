import Foundation
import TestSupport
import Testing

@testable import DiskCore

/// Which decoded blocks stay.
@Suite struct BlockResidenceTests {
  private let decoder = ScrambledBlocks(MemoryStorage([0]), blockSize: 1000)

  private let buffers = BlockBuffers()
  private static let cost = 1000 + DecodedBlock.overhead

  private func block(_ index: UInt64) -> DecodedBlock {
    DecodedBlock(BlockCache.Key(decoder: decoder, index: index), in: buffers)
  }

  @Test func neverMoreThanThereIsRoomFor() {
    var random = SeededRandom(seed: 3)
    let cost = Self.cost
    for capacity in [1, cost - 1, cost, cost + 1, cost * 5 / 2, cost * 10, cost * 64] {
      var residence = BlockResidence()
      var resident: [UInt64: DecodedBlock] = [:]
      for _ in 0..<3000 {
        let index = UInt64.random(in: 0..<200, using: &random)
        if let block = resident[index] {
          let at = Int.random(in: 0..<900, using: &random)
          block.willRead(at..<at + 100)
          continue
        }
        let new = block(index)
        resident[index] = new
        for leaving in residence.admit(new, capacity: capacity) {
          #expect(resident.removeValue(forKey: leaving.key.index) === leaving)
        }
        #expect(residence.cost == resident.count * cost)
        #expect(residence.cost <= max(capacity, cost))
        #expect(resident[index] != nil, "what was asked for last is there")
      }
    }
  }

  /// A scan of a disk a hundred times as large as the cache leaves what is in use where it is.
  @Test func aScanDoesNotWashOutWhatIsUsed() {
    var residence = BlockResidence()
    var gone: Set<UInt64> = []
    func admit(_ index: UInt64) -> DecodedBlock {
      let block = block(index)
      for leaving in residence.admit(block, capacity: 100 * Self.cost) {
        gone.insert(leaving.key.index)
      }
      return block
    }
    let hot = (0..<50).map { admit($0) }
    for block in hot { block.willRead(100..<200) }
    for index in 1000..<11_000 {
      let scanned = admit(UInt64(index))
      // In pieces, as the kernel asks.
      for at in stride(from: 0, to: 1000, by: 250) { scanned.willRead(at..<at + 250) }
      if index % 10 == 0 { hot[index / 10 % 50].willRead(500..<600) }
    }
    #expect(gone.filter { $0 < 50 } == [])
  }

  /// What was decoded ahead is there when its reader comes, whatever else is kept, and then leaves as others do.
  @Test func whatComesAheadStaysUntilItIsRead() {
    var residence = BlockResidence()
    var gone: Set<UInt64> = []
    func admit(_ block: DecodedBlock) -> DecodedBlock {
      gone.formUnion(residence.admit(block, capacity: 100 * Self.cost).map(\.key.index))
      return block
    }
    func ahead(_ index: UInt64) -> DecodedBlock {
      DecodedBlock(BlockCache.Key(decoder: decoder, index: index), in: buffers, isAhead: true)
    }
    let hot = (0..<90).map { admit(block($0)) }
    for block in hot { block.willRead(100..<200) }
    for index in UInt64(100)..<150 { _ = admit(block(index)) }
    var unread: [DecodedBlock] = []
    for index in UInt64(1000)..<3000 {
      unread.append(admit(ahead(index)))
      guard unread.count > 30 else { continue }
      let next = unread.removeFirst()
      #expect(!gone.contains(next.key.index), "left before it was read")
      for at in stride(from: 0, to: 1000, by: 250) { next.willRead(at..<at + 250) }
    }
    #expect(residence.cost <= 100 * Self.cost)
    #expect(
      gone.filter { $0 < 90 }.count < 60, "a reader ahead pushes out only what it needs room for")
    // Their reader has gone: they are no more than others from then on.
    for index in UInt64(5000)..<5200 { _ = admit(ahead(index)) }
    #expect(residence.cost <= 100 * Self.cost)
    #expect(gone.contains(5000))
  }

  /// The kernel asks for the pieces of a large block from several threads.
  @Test func onceThroughALargeBlockIsNotTwice() {
    let large = ScrambledBlocks(MemoryStorage([0]), blockSize: 1 << 20)
    let block = DecodedBlock(BlockCache.Key(decoder: large, index: 0), in: buffers)
    let piece = 128 << 10
    func read(_ number: Int) { block.willRead(number * piece..<(number + 1) * piece) }
    block.willRead(0..<piece, isFirst: true)
    for number in [2, 1, 3, 5, 4, 6, 7] { read(number) }
    #expect(!block.takeUse())
    read(0)
    #expect(block.takeUse())
  }

  /// What left too early is kept when it comes back.
  @Test func whatComesBackStays() {
    var residence = BlockResidence()
    var gone: [UInt64] = []
    func admit(_ index: UInt64) {
      gone += residence.admit(block(index), capacity: 10 * Self.cost).map(\.key.index)
    }
    for index in 0..<20 { admit(UInt64(index)) }
    #expect(gone == Array(0..<10).map(UInt64.init))
    gone = []
    admit(9)
    for index in 100..<108 { admit(UInt64(index)) }
    #expect(!gone.contains(9))
  }

  /// A block that is kept, and as large as there is room, beside a small new one: the small one goes.
  @Test func alone() {
    let small = ScrambledBlocks(MemoryStorage([0]), blockSize: 100)
    let capacity = Self.cost + 50
    var residence = BlockResidence()
    #expect(residence.admit(block(1), capacity: capacity).isEmpty)
    let other = DecodedBlock(BlockCache.Key(decoder: small, index: 1), in: buffers)
    #expect(residence.admit(other, capacity: capacity).map(\.key.index) == [1])
    let again = block(1)
    let leaving = residence.admit(again, capacity: capacity)
    #expect(leaving.count == 1 && leaving.first === other)
    #expect(residence.cost == Self.cost)
  }

  /// What is being decoded takes its memory whether it leaves or not: it stays, and others leave.
  @Test func whatIsBeingDecodedDoesNotLeave() throws {
    let storage = FaultyStorage(MemoryStorage([UInt8](repeating: 0, count: 2000)))
    let slow = ScrambledBlocks(storage, blockSize: 1000)
    let busy = DecodedBlock(BlockCache.Key(decoder: slow, index: 1), in: buffers)
    var residence = BlockResidence()
    _ = residence.admit(busy, capacity: 4 * Self.cost)
    let (arrived, mayGoOn) = (Shared(false), Shared(false))
    storage.beforeRead { _ in
      arrived.change { $0 = true }
      for _ in 0..<10_000 where !mayGoOn.value { usleep(1000) }
    }
    let decoding = Shared(false)
    let thread = Thread {
      _ = try? busy.get(for: nil)
      decoding.change { $0 = true }
    }
    thread.start()
    for _ in 0..<10_000 where !arrived.value { usleep(1000) }
    #expect(busy.isBeingDecoded)
    for index in 0..<50 {
      let leaving = residence.admit(block(UInt64(index)), capacity: 4 * Self.cost)
      #expect(!leaving.contains { $0 === busy })
      #expect(residence.cost <= 4 * Self.cost)
    }
    mayGoOn.change { $0 = true }
    for _ in 0..<10_000 where !decoding.value { usleep(1000) }
    #expect(!busy.isBeingDecoded)
    let leaving = (50..<60).flatMap {
      residence.admit(block(UInt64($0)), capacity: 4 * Self.cost)
    }
    #expect(leaving.contains { $0 === busy })
  }

  /// Room that is taken away is made with the next block.
  @Test func lessRoom() {
    var residence = BlockResidence()
    for index in 0..<20 { _ = residence.admit(block(UInt64(index)), capacity: 20 * Self.cost) }
    #expect(residence.cost == 20 * Self.cost)
    #expect(residence.admit(block(20), capacity: 5 * Self.cost).count == 16)
    #expect(residence.cost == 5 * Self.cost)
  }
}
