internal import DiskCore

/// Which of a volume's FATs are read, and in which order.
struct FATCopies {
  /// More are not looked at; two is what there is.
  private static let most: UInt64 = 4

  let place: ClusterTablePlace
  let note: String?

  /// - Throws: `truncated` where the volume ends before its FAT.
  init(
    of boot: FATBootSector, _ width: ClusterTable.Width, in volume: Volume
  ) throws(DiskError) {
    let length = boot.sectorsPerFAT * boot.sectorSize
    let start = boot.reservedSectors * boot.sectorSize
    var starts: [UInt64] = []
    if let active = try boot.activeFAT, active < boot.fatCount {
      starts = [start + active * length]
    } else {
      for copy in 0..<min(boot.fatCount, Self.most) { starts.append(start + copy * length) }
    }
    guard starts[0] < volume.size else {
      throw DiskError(
        .truncated, "the volume ends before its FAT begins", path: volume.storage.path,
        offset: starts[0])
    }
    starts.removeAll { $0 >= volume.size }
    // The first one comes first unless it is known to be damaged and another one is not.
    var note: String?
    if Self.begins(at: starts[0], boot.media, width, in: volume) == false,
      let good = starts.firstIndex(where: {
        Self.begins(at: $0, boot.media, width, in: volume) == true
      })
    {
      starts.insert(starts.remove(at: good), at: 0)
      note = "the first FAT does not begin as a FAT does; copy \(good + 1) is used"
    }
    place = ClusterTablePlace(
      starts: starts, byteCount: min(length, volume.size - starts[0]))
    self.note = note
  }

  /// Whether entry 0 is what it must be: the kind of the medium, and ones above it (Microsoft, "FAT: General
  /// Overview of On-Disk Format", page 18). Nil where it cannot be read.
  static func begins(
    at start: UInt64, _ media: UInt8, _ width: ClusterTable.Width, in volume: Volume
  ) -> Bool? {
    guard let table = try? volume.reader(at: DiskOffset(start), count: 4),
      let first = try? table.u32(at: 0)
    else { return nil }
    return first & width.mask == (width.mask & ~0xFF) | UInt32(media)
  }
}
