public import DiskCore

extension PartitionTable {
  /// The checksums that a GPT has: of its header, of the header's copy, and of the entries that each names.
  /// None of a disk without a GPT; where both headers are too damaged to be used, theirs are among them.
  public func checksums(of window: Window) -> [RecordedChecksum] {
    guard kind == .gpt || kind == .none && Self.promisesGPT(window) else { return [] }
    let geometry = SectorGeometry(window: window, sectorSize: sectorSize)
    let primary = GPTSector(at: 1, geometry, "primary")
    let last = geometry.sectorCount - min(geometry.sectorCount, 1)
    // Where the disk was cut short, there is no copy to check.
    let backup = primary.alternate.map { $0 <= last ? $0 : nil } ?? last
    return primary.checksums
      + (backup.map { GPTSector(at: $0, geometry, "backup").checksums } ?? [])
  }

  private static func promisesGPT(_ window: Window) -> Bool {
    guard window.size >= 512, let sector = try? window.reader(at: .start, count: 512),
      let record = try? MasterBootRecord(sector)
    else { return false }
    return record.isProtective
  }
}

/// A sector that should hold a GPT header (UEFI 2.10, section 5.3.2).
private struct GPTSector {
  private static let field = 16

  let checksums: [RecordedChecksum]
  /// Where the other header is; nil where this one cannot be trusted.
  let alternate: UInt64?

  init(at place: UInt64, _ geometry: SectorGeometry, _ name: String) {
    let start = geometry.window.start.bytes + place * geometry.sectorSize
    let sector = try? geometry.reader(at: place, count: Int(geometry.sectorSize))
    let claimed = (try? sector?.u32(at: 12)).map { Int($0) } ?? 0
    let size = min(max(claimed, GPTHeader.size), Int(geometry.sectorSize))
    let recorded = (try? sector?.u32(at: Self.field)) ?? 0
    let end = start + UInt64(size)
    var checksums = [
      RecordedChecksum(
        "header CRC-32", name: name,
        of: [
          .disk(start..<start + UInt64(Self.field)), .bytes([0, 0, 0, 0]),
          .disk(start + UInt64(Self.field) + 4..<end),
        ], is: .known(recorded), by: { CRC32() })
    ]
    let header = try? GPTHeader(at: place, geometry)
    alternate = header?.alternate
    if let header {
      let bytes = UInt64(header.entryCount) * UInt64(header.entrySize)
      let (offset, overflow) = header.entriesStart.multipliedReportingOverflow(
        by: geometry.sectorSize)
      if !overflow, offset <= geometry.window.size, bytes <= geometry.window.size - offset {
        let entries = geometry.window.start.bytes + offset
        checksums.append(
          RecordedChecksum(
            "entries CRC-32", name: name, of: [.disk(entries..<entries + bytes)],
            is: .known(header.entriesCRC), by: { CRC32() }))
      }
    }
    self.checksums = checksums
  }
}

extension CRC32: RunningChecksum {
  mutating func add(_ bytes: RawSpan) {
    let copy = unsafe bytes.withUnsafeBytes { bytes in unsafe Array(bytes) }
    add(copy[...])
  }
}
