internal import DiskCore

/// A logical volume (ECMA-167, 3/10.6; UDF 2.60, 2.2.4): its partitions, and where its files start.
struct UDFLogicalVolume {
  let space: UDFSpace
  /// Of the descriptor of its files.
  let fileSet: UDFExtent
  /// As `2.50`; nil where it does not say.
  let revision: String?

  /// - Throws: `malformed` and `unsupported` where it cannot be read at all. A partition that cannot be
  ///   read fails when it is used.
  init(_ sequence: UDFDescriptorSequence, _ volume: UDFVolume) throws(DiskError) {
    guard let descriptor = sequence.logicalVolume else {
      throw volume.failure(.malformed, "there is no logical volume descriptor", 0)
    }
    let blockSize = try descriptor.u32(at: 212)
    guard [512, 1024, 2048, 4096].contains(blockSize) else {
      throw volume.failure(
        .unsupported, "blocks of \(blockSize) bytes; 512, 1024, 2048 and 4096 are read",
        descriptor.base + 212)
    }
    if UInt64(blockSize) != volume.sectorSize {
      volume.notes.add("blocks of \(blockSize) bytes on sectors of \(volume.sectorSize)")
    }
    fileSet = try UDFExtent(descriptor, at: 248)
    revision = try Self.revision(descriptor, volume)
    let maps = try UDFPartitionMap.all(in: descriptor, volume)
    var space = UDFSpace(
      volume: volume, blockSize: UInt64(blockSize), position: descriptor.base, partitions: [])
    // First those that others are in; a table that leads into itself meets this error.
    let recursion = volume.failure(
      .malformed, "a partition's own table is in a virtual or metadata partition", descriptor.base)
    var real: [Result<UDFRealPartition, DiskError>] = []
    for map in maps {
      let found = Self.real(map, sequence, space)
      real.append(found)
      switch (found, map.isInAnother) {
      case (_, true): space.partitions.append(.unreadable(recursion))
      case (.success(let partition), _): space.partitions.append(.real(partition))
      case (.failure(let error), _): space.partitions.append(.unreadable(error))
      }
    }
    let base = space
    for (index, map) in maps.enumerated() where map.isInAnother {
      // A sparable partition is shared with its sparing table.
      let below = maps.indices.first { !maps[$0].isInAnother && maps[$0].number == map.number }
      do throws(DiskError) {
        let partition = try real[below ?? index].get()
        guard let reference = UInt16(exactly: below ?? index) else { continue }
        var view = base
        view.partitions[Int(reference)] = .real(partition)
        if map.identifier == UDFPartitionMap.virtual {
          let table = try UDFVirtualTable(partition, reference: reference, view)
          space.partitions[index] = .virtual(table, over: partition)
        } else {
          let (main, mirror) = try UDFMetadataFile.runs(map.reader, reference, view)
          space.partitions[index] = .metadata(main, mirror: mirror, over: partition)
        }
      } catch {
        volume.notes.add("partition \(index) cannot be read: \(error.message)")
        space.partitions[index] = .unreadable(error)
      }
    }
    self.space = space
  }

  /// `0x0102` as `1.02` (UDF 2.60, 2.1.5.3).
  private static func revision(
    _ descriptor: ByteReader, _ volume: UDFVolume
  ) throws(DiskError) -> String? {
    guard descriptor.matches("*OSTA UDF Compliant", at: 217) else {
      volume.notes.add("the volume does not say that it follows UDF")
      return nil
    }
    let revision = try descriptor.u16(at: 240)
    return "\(hexadecimal(revision >> 8, digits: 1)).\(hexadecimal(revision & 0xFF))"
  }

  /// The partition of the disc that a map is about.
  private static func real(
    _ map: UDFPartitionMap, _ sequence: UDFDescriptorSequence, _ space: UDFSpace
  ) -> Result<UDFRealPartition, DiskError> {
    let volume = space.volume
    do throws(DiskError) {
      guard let descriptor = sequence.partitions[map.number] else {
        throw volume.failure(
          .malformed, "there is no partition \(map.number), which a map names", map.reader.base)
      }
      var partition = UDFRealPartition(
        position: UInt64(try descriptor.u32(at: 188)) * volume.sectorSize,
        blocks: UInt64(try descriptor.u32(at: 192)) * volume.sectorSize / space.blockSize)
      switch map.identifier {
      case UDFPartitionMap.sparable?: partition.sparing = try UDFSparingTable(map.reader, volume)
      case nil, UDFPartitionMap.virtual?, UDFPartitionMap.metadata?: break
      case let other?:
        throw volume.failure(
          .unsupported, "a partition of an unknown kind, \(printable(other))", map.reader.base)
      }
      return .success(partition)
    } catch {
      return .failure(error)
    }
  }
}
