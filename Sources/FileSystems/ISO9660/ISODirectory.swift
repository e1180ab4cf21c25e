internal import DiskCore

/// Walks over the records of directories (ECMA-119, 6.8.1). The path table, which has the folders a
/// second time, is not read.
struct ISODirectory {
  /// Of one directory, in bytes: a million entries.
  static let mostBytes: UInt64 = 128 << 20
  /// Of one file: more than 2¹⁶ pieces of 4 GiB nothing can hold.
  static let mostSections = 1 << 16

  let volume: ISOVolume

  /// Calls `visit` for each record of the folder at `position`, its own and its parent's included, until
  /// it returns false. What is damaged is passed over to the next sector.
  ///
  /// - Throws: the first damage, after everything that can be read was visited.
  func forEachRecord(
    ofFolderAt position: UInt64, _ visit: (ISODirectoryRecord) -> Bool
  ) throws(DiskError) {
    let own = try ISODirectoryRecord(ofFolderAt: position, volume)
    let length = own.section.length
    guard length <= Self.mostBytes else {
      throw volume.failure(
        .unsupported, "a directory of \(length) bytes; at most \(Self.mostBytes) are read", position
      )
    }
    let end = position + length
    var place = position
    var damage: DiskError? = nil
    while place < end {
      do throws(DiskError) {
        let sector = try volume.restOfSector(at: place)
        if try sector.u8(at: 0) == 0 {
          // Nothing more fits in here.
          place = behind(place, volume.blockSize)
          continue
        }
        let record = try ISODirectoryRecord(startOf: sector, volume)
        guard visit(record) else { return }
        place += UInt64(record.length)
      } catch {
        damage = damage ?? error
        guard place < volume.volume.size else { break }
        place = behind(place, ISOVolume.sectorSize)
      }
    }
    if let damage { throw damage }
  }

  /// Where a file's pieces are: in this record, and in those that follow it as long as they say so.
  ///
  /// - Throws: `malformed` where a record that should follow does not, or there are too many.
  func sections(of first: ISODirectoryRecord) throws(DiskError) -> [ISOSection] {
    var sections = [first.section]
    var record = first
    while record.flags.contains(.continues) {
      guard sections.count < Self.mostSections else {
        throw volume.failure(
          .malformed, "a file of more than \(Self.mostSections) sections", first.position)
      }
      record = try ISODirectoryRecord(at: try following(record), volume)
      sections.append(record.section)
    }
    return sections
  }

  /// The record behind this one, in its sector or at the start of the next.
  private func following(_ record: ISODirectoryRecord) throws(DiskError) -> UInt64 {
    var place = record.position + UInt64(record.length)
    let sector = behind(record.position, ISOVolume.sectorSize)
    while place < sector, try volume.reader(at: place, count: 1).u8(at: 0) == 0 {
      place = behind(place, volume.blockSize)
    }
    return place
  }

  /// The first multiple of `unit` behind `place`.
  private func behind(_ place: UInt64, _ unit: UInt64) -> UInt64 { (place / unit + 1) * unit }
}
