internal import DiskCore

/// The file that a metadata partition is in (UDF 2.60, 2.2.10 and 2.2.13). Which of its blocks are in use is
/// for writers.
enum UDFMetadataFile {
  /// It is read when the volume is opened, and grows in few pieces.
  private static let mostRuns = 1 << 16
  /// Of a partition map's flags: the mirror has blocks of its own.
  private static let isDuplicated: UInt8 = 1

  /// Where the main file is, and its mirror where that has other blocks. Of two of which one cannot be
  /// found it is the other.
  static func runs(
    _ map: ByteReader, _ reference: UInt16, _ space: UDFSpace
  ) throws(DiskError) -> (main: UDFRuns, mirror: UDFRuns?) {
    func mirror() throws(DiskError) -> UDFRuns {
      try runs(at: try map.u32(at: 44), reference, space)
    }
    do throws(DiskError) {
      let main = try runs(at: try map.u32(at: 40), reference, space)
      let hasMirror = try map.u8(at: 58) & isDuplicated != 0
      return (main, hasMirror ? try? mirror() : nil)
    } catch {
      guard let mirror = try? mirror() else { throw error }
      space.volume.notes.add(
        "the metadata file is damaged (\(error.message)); its mirror is read")
      return (mirror, nil)
    }
  }

  private static func runs(
    at block: UInt32, _ reference: UInt16, _ space: UDFSpace
  ) throws(DiskError) -> UDFRuns {
    let address = UDFAddress(block: block, partition: reference)
    let entry = try UDFInformationControl(space: space).entry(at: address)
    let runs = try UDFAllocation(entry: entry, space: space, mostRuns: mostRuns).runs()
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
