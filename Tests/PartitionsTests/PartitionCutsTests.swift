import DiskCore
import Partitions
import Testing

struct PartitionCutsTests {
  private static func partition(_ number: Int, _ range: Range<UInt64>) -> Partition {
    Partition(
      number: number, start: DiskOffset(range.lowerBound), size: UInt64(range.count), type: "83")
  }

  private static func pieces(_ partitions: [Partition], _ range: Range<UInt64>) -> [[UInt64]] {
    PartitionCuts(partitions).pieces(of: range).map {
      [$0.start.bytes, $0.length, UInt64($0.partition?.number ?? 0)]
    }
  }

  @Test func withoutPartitions() {
    #expect(Self.pieces([], 5..<1000) == [[5, 995, 0]])
  }

  @Test func cutAtBorders() {
    let partitions = [
      Self.partition(1, 100..<200), Self.partition(2, 200..<300),
      // An extended one and a logical one in it.
      Self.partition(4, 400..<600), Self.partition(5, 450..<550),
    ]
    #expect(
      Self.pieces(partitions, 0..<1000) == [
        [0, 100, 0], [100, 100, 1], [200, 100, 2], [300, 100, 0], [400, 50, 4], [450, 100, 5],
        [550, 50, 4], [600, 400, 0],
      ])
    #expect(Self.pieces(partitions, 150..<151) == [[150, 1, 1]])
    #expect(Self.pieces(partitions, 199..<201) == [[199, 1, 1], [200, 1, 2]])
    #expect(Self.pieces(partitions, 600..<700) == [[600, 100, 0]])
    #expect(Self.pieces(partitions, 500..<550) == [[500, 50, 5]])
  }
}
