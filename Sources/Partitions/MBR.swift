internal import DiskCore

/// The master boot record and the entries that it and extended boot records hold.
///
/// Layout: 440 bytes of code, a four-byte disk signature, four entries of 16 bytes at 446, 55 AA at
/// 510 (UEFI 2.10, section 5.2.1). There is no checksum, so everything is checked against
/// what else the sector could be.
struct MasterBootRecord {
  /// One entry, in sectors as the disk counts them.
  struct Entry {
    /// 0 or 0x80 in every table that Linux accepts.
    let bootIndicator: UInt8
    let type: UInt8
    let start: UInt64
    let sectors: UInt64

    var isUsed: Bool { sectors != 0 }

    /// The three types of partitions that hold a chain of further boot records.
    var isExtended: Bool { MBRType.isExtended(type) }

    /// Covers a GPT disk so that tools which only know the MBR leave it alone.
    var isProtective: Bool { type == 0xEE }

    var isBootable: Bool { bootIndicator == 0x80 }
  }

  /// Four, in the order of their numbers.
  let entries: [Entry]
  /// Nil where it is 0, which means that none was written.
  let diskSignature: UInt32?

  /// Reads a boot record, master or extended.
  ///
  /// - Parameter sector: its first 512 bytes, whatever the size of the disk's sectors.
  /// - Returns: nil where 55 AA is missing.
  init?(_ sector: ByteReader) throws(DiskError) {
    guard sector.matches([0x55, 0xAA], at: 510) else { return nil }
    var entries: [Entry] = []
    for place in stride(from: 446, to: 510, by: 16) {
      entries.append(
        Entry(
          bootIndicator: try sector.u8(at: place), type: try sector.u8(at: place + 4),
          start: UInt64(try sector.u32(at: place + 8)),
          sectors: UInt64(try sector.u32(at: place + 12))))
    }
    self.entries = entries
    let signature = try sector.u32(at: 440)
    diskSignature = signature == 0 ? nil : signature
  }

  /// Anything but 0 and 0x80 there is code or text that happens to end in 55 AA.
  var hasValidBootIndicators: Bool {
    entries.allSatisfy { $0.bootIndicator == 0 || $0.bootIndicator == 0x80 }
  }

  var isEmpty: Bool { !entries.contains { $0.isUsed } }

  var isProtective: Bool { entries.contains { $0.isProtective } }

  /// Whether its used entries make sense on a disk of so many sectors; boot code seldom does.
  func couldBeTable(of sectorCount: UInt64) -> Bool {
    let used = entries.filter(\.isUsed)
    return !used.isEmpty
      && used.allSatisfy { $0.start > 0 && $0.start + $0.sectors <= sectorCount }
  }

  /// Whether an AIX disk wrote this sector ("IBMA" in EBCDIC): those have no table here. Linux
  /// believes the table all the same where it has an entry that AIX would not write.
  static func isAIX(_ sector: ByteReader, _ record: MasterBootRecord) -> Bool {
    let linuxTypes: Set<UInt8> = [0x82, 0x83, 0x8E, 0xFD]
    return sector.matches([0xC9, 0xC2, 0xD4, 0xC1], at: 0)
      && !record.entries.contains { $0.isExtended || linuxTypes.contains($0.type) }
  }
}
