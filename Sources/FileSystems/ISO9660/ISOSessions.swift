internal import DiskCore

/// Finds the last session of a disc that was written in several (ECMA-119 knows none; Orange Book).
///
/// Where sessions start is in the disc's table of contents, which an image does not have. What it has:
/// a session's descriptors say how large the volume is, and the next session starts a known distance
/// behind that. Media that can be overwritten need no search: their first descriptors are renewed with
/// each session.
enum ISOSessions {
  /// More than fit on a disc.
  private static let most = 100
  /// In sectors behind the end of a session: next to it (DVD and BD begin at multiples of 16 or 32), or
  /// behind lead-out, lead-in and pre-gap of a CD's second (11,400) and later sessions (6,900). The
  /// ranges allow for padding and run-out blocks.
  private static let distances: [Range<UInt64>] = [0..<320, 6_740..<7_240, 11_240..<11_740]

  /// The descriptors of the last session; nil where there is none at the volume's start.
  static func last(_ volume: Volume) throws(DiskError) -> ISODescriptors? {
    guard var found = try ISODescriptors(volume, session: 0) else { return nil }
    for _ in 1..<most {
      guard let next = next(behind: found, volume) else { break }
      found = next
    }
    return found
  }

  private static func next(behind session: ISODescriptors, _ volume: Volume) -> ISODescriptors? {
    let sectors = volume.size / ISOVolume.sectorSize
    let size =
      (UInt64(session.blocks) * session.blockSize + ISOVolume.sectorSize - 1) / ISOVolume.sectorSize
    // Writers count the volume's size from its start or from the session's.
    for end in Set([size, session.session + size]).sorted() where end > session.session {
      for distance in distances {
        for start in distance {
          let place = end + start
          guard place + ISODescriptors.firstSector < sectors else { break }
          if let found = candidate(volume, at: place) { return found }
        }
      }
    }
    return nil
  }

  /// A session at `sector`. An image of another disc that merely lies there has its root near its own
  /// start; a session's places are counted from the whole disc's.
  private static func candidate(_ volume: Volume, at sector: UInt64) -> ISODescriptors? {
    let place = (sector + ISODescriptors.firstSector) * ISOVolume.sectorSize
    guard let head = try? volume.reader(at: DiskOffset(place), count: 6),
      head.matches([1] + Array("CD001".utf8), at: 0),
      let found = (try? ISODescriptors(volume, session: sector)).flatMap(\.self)
    else { return nil }
    let blocks = ISOVolume(volume, blockSize: found.blockSize)
    let root = found.primaryRoot.position(blocks)
    guard root > place, (try? ISODirectoryRecord(ofFolderAt: root, blocks)) != nil else {
      return nil
    }
    return found
  }
}
