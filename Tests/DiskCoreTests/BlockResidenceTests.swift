import TestSupport
import Testing

@testable import DiskCore

/// Which decoded blocks stay.
@Suite struct BlockResidenceTests {
  private let decoder = ScrambledBlocks(MemoryStorage([0]), blockSize: 1000)

  private func block(_ index: UInt64) -> DecodedBlock {
    DecodedBlock(BlockCache.Key(decoder: decoder, index: index))
  }

  @Test func neverMoreThanThereIsRoomFor() {
    var random = SeededRandom(seed: 3)
    for capacity in [1, 999, 1000, 1001, 2500, 10_000, 64_000] {
      var residence = BlockResidence(capacity: capacity)
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
        for leaving in residence.admit(new) {
          #expect(resident.removeValue(forKey: leaving.key.index) === leaving)
        }
        #expect(residence.cost == resident.count * 1000)
        #expect(residence.cost <= max(capacity, 1000))
        #expect(resident[index] != nil, "what was asked for last is there")
      }
    }
  }

  /// A scan of a disk a hundred times as large as the cache leaves what is in use where it is.
  @Test func aScanDoesNotWashOutWhatIsUsed() {
    var residence = BlockResidence(capacity: 100_000)
    var gone: Set<UInt64> = []
    func admit(_ index: UInt64) -> DecodedBlock {
      let block = block(index)
      for leaving in residence.admit(block) { gone.insert(leaving.key.index) }
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

  /// What left too early is kept when it comes back.
  @Test func whatComesBackStays() {
    var residence = BlockResidence(capacity: 10_000)
    var gone: [UInt64] = []
    for index in 0..<20 { gone += residence.admit(block(UInt64(index))).map(\.key.index) }
    #expect(gone == Array(0..<10).map(UInt64.init))
    gone = residence.admit(block(9)).map(\.key.index)
    for index in 100..<108 { gone += residence.admit(block(UInt64(index))).map(\.key.index) }
    #expect(!gone.contains(9))
  }

  /// A block that is kept, and as large as there is room, beside a small new one: the small one goes.
  @Test func alone() {
    let small = ScrambledBlocks(MemoryStorage([0]), blockSize: 100)
    var residence = BlockResidence(capacity: 1050)
    #expect(residence.admit(block(1)).isEmpty)
    let other = DecodedBlock(BlockCache.Key(decoder: small, index: 1))
    #expect(residence.admit(other).map(\.key.index) == [1])
    let again = block(1)
    let leaving = residence.admit(again)
    #expect(leaving.count == 1 && leaving.first === other)
    #expect(residence.cost == 1000)
  }
}
