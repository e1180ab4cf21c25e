internal import DiskCore

/// How a logical volume has one of its partitions (ECMA-167, 3/10.7; UDF 2.60, 2.2.8 to 2.2.10).
struct UDFPartitionMap {
  /// UDF has at most two: one that is in another.
  static let most = 4
  /// Where in the logical volume's descriptor they start.
  private static let place = 440

  static let virtual = "*UDF Virtual Partition"
  static let sparable = "*UDF Sparable Partition"
  static let metadata = "*UDF Metadata Partition"

  /// As stored.
  let reader: ByteReader
  /// Nil for type 1, which is a partition of the disc as it is.
  let identifier: String?
  /// Of the partition on the disc.
  let number: UInt16

  /// Whether its blocks are those of another partition.
  var isInAnother: Bool { identifier == Self.virtual || identifier == Self.metadata }

  /// - Throws: `malformed` where one of them has no known form.
  static func all(
    in descriptor: ByteReader, _ volume: UDFVolume
  ) throws(DiskError) -> [UDFPartitionMap] {
    let count = Int(clamping: try descriptor.u32(at: 268))
    guard (1...most).contains(count) else {
      throw volume.failure(
        .malformed, "\(count) partition maps; 1 to \(most) are read", descriptor.base + 268)
    }
    // With blocks of 512 bytes a descriptor can go on in the next one.
    let longest = place + 64 * count
    let area =
      try descriptor.count >= longest
      ? descriptor : volume.reader(at: descriptor.base, count: longest)
    var maps: [UDFPartitionMap] = []
    var offset = place
    for _ in 0..<count {
      let (type, length) = (try area.u8(at: offset), Int(try area.u8(at: offset + 1)))
      let reader = ByteReader(
        Array(try area.slice(at: offset, count: length)), path: area.path,
        base: area.base + UInt64(offset))
      switch (type, length) {
      case (1, 6...):
        maps.append(
          UDFPartitionMap(reader: reader, identifier: nil, number: try reader.u16(at: 4)))
      case (2, 64...):
        maps.append(
          UDFPartitionMap(
            reader: reader, identifier: try reader.text(at: 5, count: 23),
            number: try reader.u16(at: 38)))
      default:
        throw volume.failure(
          .malformed, "a partition map of type \(type) and \(length) bytes", reader.base)
      }
      offset += length
    }
    return maps
  }
}
