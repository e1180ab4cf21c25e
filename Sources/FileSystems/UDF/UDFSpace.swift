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
  /// Whether metadata that is stored twice is read from its mirror.
  private var readsMirror = false

  init(volume: UDFVolume, blockSize: UInt64, position: UInt64, partitions: [UDFPartition]) {
    self.volume = volume
    self.blockSize = blockSize
    self.position = position
    self.partitions = partitions
  }

  /// - Throws: `malformed` for an address that is in no partition.
  func row(at address: UDFAddress) throws(DiskError) -> UDFRow {
    guard Int(address.partition) < partitions.count else {
      throw volume.failure(
        .malformed,
        "partition reference \(address.partition); the volume has \(partitions.count) partitions",
        position)
    }
    return try partitions[Int(address.partition)].row(
      at: address.block, volume, blockSize: blockSize, mirrored: readsMirror)
  }

  /// The same, with metadata from its mirror; nil where none is stored twice.
  var mirrored: UDFSpace? {
    guard !readsMirror, partitions.contains(where: \.hasMirror) else { return nil }
    var space = self
    space.readsMirror = true
    return space
  }

  /// The block of a descriptor, from the mirror where that has it and the main copy is damaged.
  func block(at address: UDFAddress) throws(DiskError) -> ByteReader {
    let partition = Int(address.partition)
    guard !readsMirror, partition < partitions.count, partitions[partition].hasMirror,
      let mirrored
    else { return try stored(at: address) }
    if let block = try? stored(at: address), Self.isWhole(block) { return block }
    guard let copy = try? mirrored.stored(at: address), Self.isWhole(copy) else {
      return try stored(at: address)
    }
    volume.notes.add("the metadata is damaged, and its mirror is read", as: .mirror)
    return copy
  }

  private func stored(at address: UDFAddress) throws(DiskError) -> ByteReader {
    try volume.reader(at: try row(at: address).position, count: Int(blockSize))
  }

  private static func isWhole(_ block: ByteReader) -> Bool {
    UDFTag(block)?.covers(block) ?? false
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

extension UDFPartition {
  fileprivate var hasMirror: Bool {
    if case .metadata(_, .some, _) = self { true } else { false }
  }
}
