internal import DiskCore

/// Walks over a file's allocation descriptors (ECMA-167, 4/12 and 4/14.14; UDF 2.60, 2.3.10): in its
/// entry, and in the extents that continue them.
struct UDFAllocation {
  /// Of one file, in pieces.
  static let mostRuns = 1 << 20
  /// Of one file: extents of further descriptors. At 512 bytes a block they hold two million.
  static let mostExtensions = 1 << 15
  /// Before the descriptors in an allocation extent.
  private static let extensionHeader = 24

  let entry: UDFFileEntry
  let space: UDFSpace
  var mostRuns = Self.mostRuns

  private enum Kind: UInt32 { case recorded, allocated, absent, continued }

  private struct Descriptor {
    let kind: Kind
    let length: UInt32
    let address: UDFAddress
  }

  /// Where the file's bytes are, as far as it is long: what else is reserved for it is not looked at.
  ///
  /// - Throws: `malformed` where the descriptors cannot be followed.
  func runs() throws(DiskError) -> UDFRuns {
    var runs = UDFRuns()
    if entry.form == .inEntry {
      let length = min(entry.size, UInt64(entry.descriptors.count))
      let position = entry.position + UInt64(entry.descriptors.lowerBound)
      runs.append(.inEntry(position), length: length, blockSize: space.blockSize)
      return runs
    }
    var area = ByteReader(
      Array(
        try entry.block.slice(at: entry.descriptors.lowerBound, count: entry.descriptors.count)),
      base: entry.position + UInt64(entry.descriptors.lowerBound))
    var partition = entry.address.partition
    var passed: Set<UDFAddress> = []
    while let next = try add(area, partition, to: &runs) {
      guard passed.insert(next).inserted else {
        throw space.volume.failure(
          .malformed, "the file's allocation descriptors lead in a circle", entry.position)
      }
      guard passed.count <= Self.mostExtensions else {
        throw space.volume.failure(
          .malformed, "a file with more than \(Self.mostExtensions) allocation extents",
          entry.position)
      }
      area = try continuation(at: next)
      partition = next.partition
    }
    return runs
  }

  /// Adds what the descriptors in `area` say.
  ///
  /// - Returns: where there are more of them.
  private func add(
    _ area: ByteReader, _ partition: UInt16, to runs: inout UDFRuns
  ) throws(DiskError) -> UDFAddress? {
    let width = entry.form.width
    for index in 0..<area.count / width {
      let descriptor = try descriptor(area, at: index * width, partition)
      // The last of them has no length.
      guard descriptor.length > 0, runs.length < entry.size else { return nil }
      switch descriptor.kind {
      case .continued:
        return descriptor.address
      case .recorded:
        runs.append(
          .recorded(descriptor.address), length: UInt64(descriptor.length),
          blockSize: space.blockSize)
      case .allocated, .absent:
        runs.append(.zero, length: UInt64(descriptor.length), blockSize: space.blockSize)
      }
      guard runs.runs.count <= mostRuns else {
        throw space.volume.failure(
          .malformed, "a file in more than \(mostRuns) pieces", entry.position)
      }
    }
    return nil
  }

  private func descriptor(
    _ area: ByteReader, at offset: Int, _ partition: UInt16
  ) throws(DiskError) -> Descriptor {
    let word = try area.u32(at: offset)
    let kind = Kind(rawValue: word >> 30) ?? .absent
    let address =
      switch entry.form {
      case .short: UDFAddress(block: try area.u32(at: offset + 4), partition: partition)
      case .long: try UDFAddress(area, at: offset + 4)
      // Behind the lengths of what is recorded and of what that stands for.
      default: try UDFAddress(area, at: offset + 12)
      }
    return Descriptor(kind: kind, length: word & 0x3FFF_FFFF, address: address)
  }

  /// The descriptors of an allocation extent (ECMA-167, 4/14.5).
  private func continuation(at address: UDFAddress) throws(DiskError) -> ByteReader {
    let block = try space.block(at: address)
    guard space.volume.tag(block, location: address.block)?.kind == UDFTag.Kind.allocationExtent
    else {
      throw space.volume.failure(
        .malformed, "there are no allocation descriptors where a file's continue", block.base)
    }
    let length = min(
      Int(clamping: try block.u32(at: 20)), block.count - Self.extensionHeader)
    return ByteReader(
      Array(try block.slice(at: Self.extensionHeader, count: length)),
      base: block.base + UInt64(Self.extensionHeader))
  }
}
