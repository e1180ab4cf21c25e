internal import DiskCore

/// A block of a partition (`lb_addr`, ECMA-167, 4/7.1).
struct UDFAddress: Hashable, Sendable {
  /// In bytes, as it is stored.
  static let length = 6

  let block: UInt32
  /// Which of the logical volume's partition maps; not the partition's own number.
  let partition: UInt16

  init(block: UInt32, partition: UInt16) {
    self.block = block
    self.partition = partition
  }

  init(_ reader: ByteReader, at offset: Int) throws(DiskError) {
    block = try reader.u32(at: offset)
    partition = try reader.u16(at: offset + 4)
  }

  /// An item's number is where its ICB is: the partition plus one, so that none is 0, and the block.
  init(_ item: ItemID) {
    block = UInt32(truncatingIfNeeded: item.number)
    partition = UInt16(truncatingIfNeeded: item.number >> 32) &- 1
  }

  /// A partition that there cannot be is one that there is not.
  var item: ItemID { ItemID((UInt64(min(partition, .max - 1)) + 1) << 32 | UInt64(block)) }
}

/// An extent in a partition that its address names (`long_ad`, ECMA-167, 4/14.14.2).
struct UDFExtent: Sendable {
  static let storedLength = 16

  /// In bytes, less than 2³⁰; 0 where there is no extent.
  let length: UInt32
  let address: UDFAddress

  init(_ reader: ByteReader, at offset: Int) throws(DiskError) {
    // The two bits above say whether it is recorded.
    length = try reader.u32(at: offset) & 0x3FFF_FFFF
    address = try UDFAddress(reader, at: offset + 4)
  }
}
