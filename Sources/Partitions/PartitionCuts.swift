public import DiskCore

/// Cuts ranges of a disk where its partitions begin and end.
public struct PartitionCuts: Sendable {
  /// A part of a range that lies in one partition, or in none.
  public struct Piece: Sendable {
    public let start: DiskOffset
    public let length: UInt64
    /// The smallest one that it lies in: a logical partition rather than the extended one around it.
    public let partition: Partition?
  }

  /// From here on up to the next one; ascending.
  private var segments: [(start: UInt64, partition: Partition?)]

  public init(_ partitions: [Partition]) {
    var borders: Set<UInt64> = [0]
    for partition in partitions {
      borders.insert(partition.start.bytes)
      borders.insert(partition.start.bytes + partition.size)
    }
    segments = borders.sorted().map { border in
      let around = partitions.filter {
        $0.start.bytes <= border && border < $0.start.bytes + $0.size
      }
      return (border, around.min { $0.size < $1.size })
    }
  }

  /// The pieces of `range`, in order.
  public func pieces(of range: Range<UInt64>) -> [Piece] {
    var pieces: [Piece] = []
    var low = 0
    var high = segments.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if segments[middle].start <= range.lowerBound { low = middle } else { high = middle }
    }
    var place = range.lowerBound
    while place < range.upperBound {
      let end = low + 1 < segments.count ? segments[low + 1].start : .max
      let next = min(end, range.upperBound)
      pieces.append(
        Piece(
          start: DiskOffset(place), length: next - place, partition: segments[low].partition))
      place = next
      low += 1
    }
    return pieces
  }
}
