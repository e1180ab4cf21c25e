internal import DiskCore

/// The descriptor of a volume's files (ECMA-167, 4/14.1): UDF has one file set, and on write-once discs
/// older descriptors of it.
enum UDFFileSet {
  /// Of the descriptors that are looked at.
  static let mostDescriptors = 64

  /// The ICB of the root folder.
  ///
  /// - Throws: `malformed` where there is no descriptor.
  static func root(
    _ extent: UDFExtent, _ space: UDFSpace
  ) throws(DiskError) -> UDFAddress {
    var newest: (number: UInt32, root: UDFAddress)? = nil
    var extent = extent
    var left = mostDescriptors
    var index: UInt64 = 0
    while left > 0, index * space.blockSize < UInt64(extent.length),
      let number = UInt32(exactly: UInt64(extent.address.block) + index)
    {
      left -= 1
      let address = UDFAddress(block: number, partition: extent.address.partition)
      let block: ByteReader
      do throws(DiskError) {
        block = try space.block(at: address)
      } catch {
        guard newest == nil else { break }
        throw error
      }
      guard let tag = space.volume.tag(block, location: number) else { break }
      guard tag.kind == UDFTag.Kind.fileSet else { break }
      let own = try block.u32(at: 44)
      if newest.map({ own >= $0.number }) ?? true {
        newest = (own, try UDFExtent(block, at: 400).address)
      }
      let next = try UDFExtent(block, at: 448)
      if next.length > 0 {
        extent = next
        index = 0
      } else {
        index += 1
      }
    }
    guard let newest else {
      throw space.volume.failure(
        .malformed, "there is no file set descriptor here",
        try space.row(at: extent.address).position)
    }
    return newest.root
  }
}
