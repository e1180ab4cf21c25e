internal import DiskCore

/// A file that is stored as it is, in one or several sections (ECMA-119, 6.5).
final class ISOContent: FileContent {
  let size: UInt64
  private let volume: Volume
  private let sections: [ISOSection]
  /// Where in the file each section starts.
  private let starts: [UInt64]

  init(_ sections: [ISOSection], _ volume: Volume) {
    var starts: [UInt64] = []
    var size: UInt64 = 0
    for section in sections {
      starts.append(size)
      // At most 2¹⁶ of less than 2³².
      size += section.length
    }
    self.sections = sections
    self.starts = starts
    self.size = size
    self.volume = volume
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    // The last one that starts at or before the offset; empty ones before it start there too.
    var (low, high) = (0, sections.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= offset.bytes { low = middle } else { high = middle }
    }
    guard low < sections.count, offset.bytes - starts[low] < sections[low].length else {
      throw DiskError(
        .invalidRequest, "the file has \(size) bytes", path: volume.storage.path,
        offset: offset.bytes)
    }
    let run = sections[low].run(at: offset.bytes - starts[low])
    return volume.extent(at: DiskOffset(run.position), length: run.length)
  }
}
