internal import DiskCore

/// Turns a master boot record into numbered partitions, following its chains of extended boot
/// records as Linux does (block/partitions/msdos.c): primaries 1 to 4 with gaps kept, logicals from
/// 5 in the order of the chain, whether or not they lie on the disk.
struct MBRPartitions {
  private let geometry: SectorGeometry
  private let signature: UInt32?
  private var partitions: [Partition] = []
  private var notes = PartitionNotes()
  private var nextLogical = 5
  /// Sectors of boot records that were read: none is read twice, so no chain can go round.
  private var seen: Set<UInt64> = [0]

  static func table(_ record: MasterBootRecord, _ geometry: SectorGeometry) -> PartitionTable {
    var walk = MBRPartitions(geometry: geometry, signature: record.diskSignature)
    for (index, entry) in record.entries.enumerated() where entry.isUsed {
      walk.add(entry, number: index + 1, from: 0)
    }
    for entry in record.entries where entry.isUsed && entry.isExtended {
      walk.follow(entry)
    }
    return PartitionTable(
      kind: .mbr, sectorSize: geometry.sectorSize,
      identifier: record.diskSignature.map { hexadecimal($0, digits: 8) },
      partitions: walk.partitions.sorted { $0.number < $1.number }, notes: walk.notes.all)
  }

  private init(geometry: SectorGeometry, signature: UInt32?) {
    self.geometry = geometry
    self.signature = signature
  }

  /// Adds the partition that `entry` names, whose start counts from sector `base`. Both are at most
  /// 2³³, so 64-bit sums are exact where 32-bit ones would wrap.
  private mutating func add(_ entry: MasterBootRecord.Entry, number: Int, from base: UInt64) {
    let first = base + entry.start
    guard let place = geometry.place(start: first, sectors: entry.sectors) else {
      notes.add(
        "partition \(number) is left out: it starts at sector \(first), past the end of the disk")
      return
    }
    if place.isShortened {
      notes.add(
        "partition \(number) is shortened: its last sector is \(first + entry.sectors - 1), past "
          + "the end of the disk")
    }
    partitions.append(
      Partition(
        number: number, start: place.start, size: place.size,
        type: hexadecimal(entry.type), typeName: MBRType.name(of: entry.type),
        uuid: signature.map {
          "\(hexadecimal($0, digits: 8))-\(hexadecimal(UInt8(truncatingIfNeeded: number)))"
        },
        isBootable: entry.isBootable))
  }

  /// Adds the logical partitions of the extended partition `container`. Each boot record holds a
  /// partition, counted from that record, and a link to the next record, counted from the
  /// container.
  private mutating func follow(_ container: MasterBootRecord.Entry) {
    var place = container.start
    var length = container.sectors
    var empty = 0
    while true {
      guard seen.insert(place).inserted else {
        notes.add("the chain of logical partitions ends early: it comes back to sector \(place)")
        return
      }
      guard let record = bootRecord(at: place) else { return }
      let before = nextLogical
      for (slot, entry) in record.entries.enumerated() where entry.isUsed && !entry.isExtended {
        // Tools leave rubbish in the last two: they count only where they lie inside.
        if slot >= 2, !isInside(entry, of: container, recordAt: place, length: length) { continue }
        guard nextLogical <= PartitionLimits.highestMBRNumber else {
          notes.add(
            "partitions past number \(PartitionLimits.highestMBRNumber) are left out, as Linux "
              + "does")
          return
        }
        add(entry, number: nextLogical, from: place)
        nextLogical += 1
      }
      empty = nextLogical == before ? empty + 1 : 0
      guard empty < PartitionLimits.emptyBootRecords else {
        notes.add(
          "the chain of logical partitions is given up: \(empty) records in a row name none")
        return
      }
      guard let link = record.entries.first(where: { $0.isUsed && $0.isExtended }) else { return }
      place = container.start + link.start
      length = link.sectors
    }
  }

  private mutating func bootRecord(at place: UInt64) -> MasterBootRecord? {
    do throws(DiskError) {
      if let record = try MasterBootRecord(geometry.reader(at: place, count: 512)) {
        return record
      }
      notes.add("the chain of logical partitions ends early: sector \(place) is no boot record")
    } catch {
      notes.add(
        "the chain of logical partitions ends early: sector \(place) cannot be read "
          + "(\(error.message))")
    }
    return nil
  }

  private func isInside(
    _ entry: MasterBootRecord.Entry, of container: MasterBootRecord.Entry, recordAt place: UInt64,
    length: UInt64
  ) -> Bool {
    let first = place + entry.start
    return entry.start + entry.sectors <= length && first >= container.start
      && first + entry.sectors <= container.start + container.sectors
  }
}
