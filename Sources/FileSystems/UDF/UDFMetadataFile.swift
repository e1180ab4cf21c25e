internal import DiskCore

/// The file that a metadata partition is in (UDF 2.60, 2.2.10 and 2.2.13). Which of its blocks are in use is
/// for writers.
enum UDFMetadataFile {
  /// Where the main file is, or its mirror, whichever can be read.
  static func runs(
    _ map: ByteReader, _ partition: UDFRealPartition, _ reference: UInt16, _ space: UDFSpace
  ) throws(DiskError) -> UDFRuns {
    do throws(DiskError) {
      return try runs(at: try map.u32(at: 40), reference, space)
    } catch {
      guard let mirror = try? runs(at: try map.u32(at: 44), reference, space) else { throw error }
      space.volume.notes.add(
        "the metadata file is damaged (\(error.message)); its mirror is read")
      return mirror
    }
  }

  private static func runs(
    at block: UInt32, _ reference: UInt16, _ space: UDFSpace
  ) throws(DiskError) -> UDFRuns {
    let address = UDFAddress(block: block, partition: reference)
    let entry = try UDFInformationControl(space: space).entry(at: address)
    let runs = try UDFAllocation(entry: entry, space: space).runs()
    for run in runs.runs {
      // Otherwise a block of the partition could be in the partition itself.
      if case .recorded(let address) = run.content, address.partition != reference {
        throw space.volume.failure(
          .malformed, "a metadata file that is in another partition", entry.position)
      }
    }
    return runs
  }
}
