import DiskCore
import Partitions
import TestSupport

func read(_ builder: GPTBuilder, sectorSize: UInt64? = nil) throws -> PartitionTable {
  try readQuickly(
    Disk.holding(size: builder.size, pieces: builder.pieces), sectorSize: sectorSize)
}

let twoPartitions: [Int: GPTBuilder.Entry] = [
  0: GPTBuilder.Entry(first: 40, last: 99, name: Array("boot".utf16), attributes: 4),
  4: GPTBuilder.Entry(first: 200, last: 299, name: Array("größe 🐧".utf16)),
]
