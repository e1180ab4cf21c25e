internal import DiskCore

/// The partitions of one logical volume: where blocks are.
struct UDFSpace: Sendable {
  let volume: UDFVolume
  /// In bytes: a power of two from 512 to 4096.
  let blockSize: UInt64
  /// Of the logical volume's descriptor, in bytes from the volume's start.
  let position: UInt64
  /// By the reference that addresses have.
  var partitions: [UDFPartition]

  /// - Throws: `malformed` for an address that is in no partition.
  func row(at address: UDFAddress) throws(DiskError) -> UDFRow {
    guard Int(address.partition) < partitions.count else {
      throw volume.failure(
        .malformed,
        "partition reference \(address.partition); the volume has \(partitions.count) partitions",
        position)
    }
    return try partitions[Int(address.partition)].row(
      at: address.block, volume, blockSize: blockSize)
  }

  func block(at address: UDFAddress) throws(DiskError) -> ByteReader {
    try volume.reader(at: try row(at: address).position, count: Int(blockSize))
  }
}

extension UDFSpace {
  /// Whether each block of a partition has a place of its own, so that one can be lost alone.
  func hasSingleBlocks(_ partition: UInt16) -> Bool {
    guard Int(partition) < partitions.count else { return false }
    switch partitions[Int(partition)] {
    case .virtual, .metadata: return true
    case .real, .unreadable: return false
    }
  }
}
