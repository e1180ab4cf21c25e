internal import DiskCore

/// Finds the GPT of a disk whose MBR promises one: the header in sector 1, or where that is
/// damaged its copy at the end of the disk (UEFI 2.10, section 5.3.2).
struct GPT {
  let header: GPTHeader
  let entries: ByteReader
  let geometry: SectorGeometry

  /// Reads the table with the first of `geometries` that finds a good one; primary headers are
  /// tried before backups.
  ///
  /// - Returns: a table of kind `none`, whose notes say what is wrong with both headers, where
  ///   there is no good one. Linux then shows no partitions either.
  static func table(geometries: [SectorGeometry]) -> PartitionTable {
    var faults: [String] = []
    var primaryFaults: [String] = []
    for geometry in geometries {
      do throws(DiskError) {
        let gpt = try GPT(at: 1, geometry)
        return gpt.table(notes: gpt.notesOnBackup())
      } catch {
        primaryFaults.append(error.message)
        if error.kind != .notFound {
          faults.append("the primary GPT header (\(geometry.name)) is bad: \(error.message)")
        }
      }
    }
    for (geometry, primaryFault) in zip(geometries, primaryFaults) {
      for place in backupPlaces(geometry) {
        do throws(DiskError) {
          let gpt = try GPT(at: place, geometry)
          return gpt.table(notes: [
            "the primary GPT header is bad, \(primaryFault); its backup in sector \(place) is used"
          ])
        } catch {
          guard error.kind != .notFound else { continue }
          faults.append("its backup in sector \(place) is bad: \(error.message)")
        }
      }
    }
    if faults.isEmpty { faults = ["neither sector 1 nor the last one has a GPT signature"] }
    return PartitionTable(
      kind: .none, notes: ["the MBR says that there is a GPT, but no header is good"] + faults)
  }

  /// The header in sector `place` and its entries, where both are sound.
  init(at place: UInt64, _ geometry: SectorGeometry) throws(DiskError) {
    header = try GPTHeader(at: place, geometry)
    entries = try header.entries(geometry)
    self.geometry = geometry
  }

  /// The last sector, and where a damaged primary header says that its copy is.
  private static func backupPlaces(_ geometry: SectorGeometry) -> [UInt64] {
    guard geometry.sectorCount > 2 else { return [] }
    let last = geometry.sectorCount - 1
    guard let primary = try? geometry.reader(at: 1, count: GPTHeader.size),
      primary.matches("EFI PART", at: 0), let named = try? primary.u64(at: 32),
      named > 1, named < last
    else { return [last] }
    return [last, named]
  }

  /// What a person should know of the backup of a good primary header. Costs one sector; where that is far
  /// in a compressed stream, what it holds is not looked at.
  private func notesOnBackup() -> [String] {
    let last = geometry.sectorCount - 1
    let place = header.alternate
    guard place <= last else {
      return [
        "the backup GPT header belongs in sector \(place), but the disk ends with sector \(last)"
      ]
    }
    var notes: [String] = []
    if place < last {
      notes.append(
        "the backup GPT header is in sector \(place), not in the last one, \(last): the disk was "
          + "made larger")
    }
    guard geometry.isNear(place, count: Int(geometry.sectorSize)) else { return notes }
    do throws(DiskError) {
      let differences = header.differences(from: try GPTHeader(at: place, geometry))
      if !differences.isEmpty {
        notes.append(
          "the backup GPT header disagrees about \(listed(differences)); the primary is used")
      }
    } catch {
      notes.append("the backup GPT header in sector \(place) is damaged: \(error.message)")
    }
    return notes
  }

  private func table(notes: [String]) -> PartitionTable {
    let (partitions, partitionNotes) = partitions()
    return PartitionTable(
      kind: .gpt, sectorSize: geometry.sectorSize, identifier: header.diskGUID,
      partitions: partitions, notes: notes + partitionNotes)
  }

  private func partitions() -> ([Partition], notes: [String]) {
    var partitions: [Partition] = []
    var notes = PartitionNotes()
    if header.lastUsable >= geometry.sectorCount {
      notes.add(
        "the disk is cut short: it has \(geometry.sectorCount) sectors, its GPT uses them up to "
          + "\(header.lastUsable)")
    }
    for index in 0..<Int(header.entryCount) {
      let place = index * Int(header.entrySize)
      guard let entry = try? GPTEntry(entries, at: place) else { continue }
      guard partitions.count < PartitionLimits.partitions else {
        notes.add(
          "only the first \(PartitionLimits.partitions) partitions are shown")
        break
      }
      if let partition = partition(entry, number: index + 1, &notes) {
        partitions.append(partition)
      }
    }
    noteOverlaps(partitions, &notes)
    return (partitions, notes.all)
  }

  /// The partition that `entry` names, or nil, with a note, where it cannot be one on this disk.
  /// As Linux does, one outside the usable sectors is kept: disks whose boot loaders lie there exist.
  private func partition(
    _ entry: GPTEntry, number: Int, _ notes: inout PartitionNotes
  ) -> Partition? {
    let range = "from sector \(entry.first) to \(entry.last)"
    guard entry.first <= entry.last else {
      notes.add("partition \(number) is left out: it ends before it starts (\(range))")
      return nil
    }
    // No overflow: the one count that would, all 2⁶⁴ sectors, is shortened in any case.
    let sectors = (entry.last - entry.first).addingReportingOverflow(1)
    guard entry.last < geometry.sectorCount || entry.last <= header.lastUsable,
      let place = geometry.place(
        start: entry.first, sectors: sectors.overflow ? .max : sectors.partialValue)
    else {
      notes.add(
        "partition \(number) is left out: it reaches past the end of the disk (\(range) of "
          + "\(geometry.sectorCount))")
      return nil
    }
    if place.isShortened {
      notes.add("partition \(number) is shortened: it goes on past the end of the disk (\(range))")
    } else if entry.first < header.firstUsable || entry.last > header.lastUsable {
      notes.add("partition \(number) lies outside the usable sectors (\(range))")
    }
    return Partition(
      number: number, start: place.start, size: place.size, type: entry.type,
      typeName: GPTType.name(of: entry.type), name: entry.name, uuid: entry.uuid,
      isBootable: entry.isBootable)
  }

  /// Overlapping partitions are kept: which of them is wrong is not for a reader to say.
  private func noteOverlaps(_ partitions: [Partition], _ notes: inout PartitionNotes) {
    var furthest: Partition? = nil
    for partition in partitions.sorted(by: { $0.start < $1.start }) {
      if let previous = furthest, partition.start < previous.end {
        notes.add("partitions \(previous.number) and \(partition.number) overlap")
      }
      if furthest.map({ partition.end > $0.end }) ?? true { furthest = partition }
    }
  }
}

extension SectorGeometry {
  fileprivate var name: String { "\(sectorSize)-byte sectors" }
}

extension Partition {
  fileprivate var end: DiskOffset { start + size }
}

/// One used entry of the array (UEFI 2.10, section 5.3.3).
private struct GPTEntry {
  /// In lower case.
  let type: String
  let uuid: String
  /// In sectors, both inclusive.
  let first: UInt64
  let last: UInt64
  let isBootable: Bool
  let name: String?

  /// - Returns: nil for an unused entry, whose type is all zeros.
  init?(_ entries: ByteReader, at place: Int) throws(DiskError) {
    guard try entries.slice(at: place, count: 16).contains(where: { $0 != 0 }) else { return nil }
    type = try entries.guid(at: place)
    uuid = try entries.guid(at: place + 16)
    first = try entries.u64(at: place + 32)
    last = try entries.u64(at: place + 40)
    // Bit 2: legacy BIOS bootable.
    isBootable = try entries.u64(at: place + 48) & 1 << 2 != 0
    let name = try entries.utf16(at: place + 56, units: 36)
    self.name = name.isEmpty ? nil : name
  }
}

/// "a", "a and b", "a, b and c".
func listed(_ items: [String]) -> String {
  guard let last = items.last, items.count > 1 else { return items.first ?? "" }
  return items.dropLast().joined(separator: ", ") + " and " + last
}
