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
  /// What a made-up image can make the search cost.
  private struct Allowance {
    /// Sectors. Those of a CD that is full of sessions, 46, are found within half as many.
    var looks = 100_000
    /// What looks like a session's descriptors and is read as such; each session has them once.
    var candidates = 2 * most
  }

  private static let head: [UInt8] = [1] + Array("CD001".utf8)
  /// In sectors behind the end of a session: next to it (DVD and BD begin at multiples of 16 or 32), or
  /// behind lead-out, lead-in and pre-gap of a CD's second (11,400) and later sessions (6,900). The
  /// ranges allow for padding and run-out blocks.
  private static let distances: [Range<UInt64>] = [0..<320, 6_740..<7_240, 11_240..<11_740]

  /// The descriptors of the last session; nil where there is none at the volume's start.
  static func last(_ volume: Volume) throws(DiskError) -> ISODescriptors? {
    guard var found = try ISODescriptors(volume, session: 0) else { return nil }
    var allowance = Allowance()
    for _ in 1..<most {
      guard let next = next(behind: found, volume, &allowance) else { break }
      found = next
    }
    return found
  }

  private static func next(
    behind session: ISODescriptors, _ volume: Volume, _ allowance: inout Allowance
  ) -> ISODescriptors? {
    let sectors = volume.size / ISOVolume.sectorSize
    let size =
      (UInt64(session.blocks) * session.blockSize + ISOVolume.sectorSize - 1) / ISOVolume.sectorSize
    // Writers count the volume's size from its start or from the session's.
    for end in Set([size, session.session + size]).sorted() where end > session.session {
      for distance in distances {
        for start in distance {
          let place = end + start
          guard place + ISODescriptors.firstSector < sectors else { break }
          guard allowance.looks > 0, allowance.candidates > 0 else { return nil }
          allowance.looks -= 1
          if let found = candidate(volume, at: place, &allowance) { return found }
        }
      }
    }
    return nil
  }

  /// A session at `sector`. An image of another disc that merely lies there has its root near its own
  /// start; a session's places are counted from the whole disc's.
  private static func candidate(
    _ volume: Volume, at sector: UInt64, _ allowance: inout Allowance
  ) -> ISODescriptors? {
    let place = (sector + ISODescriptors.firstSector) * ISOVolume.sectorSize
    guard let head = try? volume.reader(at: DiskOffset(place), count: 6),
      head.matches(Self.head, at: 0)
    else { return nil }
    allowance.candidates -= 1
    guard let found = (try? ISODescriptors(volume, session: sector)).flatMap(\.self)
    else { return nil }
    let blocks = ISOVolume(volume, blockSize: found.blockSize)
    let root = found.primaryRoot.position(blocks)
    guard root > place, (try? ISODirectoryRecord(ofFolderAt: root, blocks)) != nil else {
      return nil
    }
    return found
  }
}
