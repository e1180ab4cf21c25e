internal import DiskCore

/// Finds Rock Ridge on a disc (SUSP 1.12, 5.3 and 5.5; RRIP 1.12, 4.3).
enum RockRidge {
  /// Of the attributes that CD-ROM XA puts before everything else.
  private static let xaLength = 14
  private static let identifiers: Set<String> = ["RRIP_1991A", "IEEE_P1282", "IEEE_1282"]

  /// How to read the System Use Areas of the tree under `root`; nil where it has no Rock Ridge.
  static func area(ofTreeAt root: UInt64, _ volume: ISOVolume) -> SystemUseArea? {
    guard let record = try? ISODirectoryRecord(ofFolderAt: root, volume) else { return nil }
    for start in [0, xaLength] {
      guard
        record.reader.matches([0x53, 0x50, 7, 1, 0xBE, 0xEF], at: record.systemUseStart + start),
        let skipped = try? record.reader.u8(at: record.systemUseStart + start + 6)
      else { continue }
      let area = SystemUseArea(volume: volume, skippedBytes: Int(skipped))
      return isUsed(record, area, start) ? area : nil
    }
    return nil
  }

  /// By the reference to its specification, or, as on discs older than that, by its entries.
  private static func isUsed(
    _ record: ISODirectoryRecord, _ area: SystemUseArea, _ start: Int
  ) -> Bool {
    var isUsed = false
    // What was found before damage counts.
    try? area.forEachEntry(of: record, skipping: start) { (entry) throws(DiskError) in
      switch entry.signature {
      case .extensions:
        let count = Int(try entry.reader.u8(at: 4))
        let name = try entry.reader.text(at: 8, count: count)
        isUsed = isUsed || identifiers.contains(name)
      case .attributes, .rockRidge: isUsed = true
      default: break
      }
    }
    return isUsed
  }
}

/// What Rock Ridge says of one item (RRIP 1.12, 4.1).
struct RockRidgeEntry {
  /// Linux's longest name; a name that goes on behind it is cut.
  private static let longestName = 255

  private(set) var name: [UInt8] = []
  private(set) var isNameComplete = false
  /// Type and permissions as in `st_mode`.
  private(set) var mode: UInt32?
  private(set) var links: UInt32?
  private(set) var user: UInt32?
  private(set) var group: UInt32?
  private(set) var serial: UInt32?
  private(set) var device: (major: UInt32, minor: UInt32)?
  private(set) var times = RockRidgeTimes()
  private(set) var link: RockRidgeLink?
  /// The block of a folder that is kept elsewhere, because it is too deep.
  private(set) var childBlock: UInt32?
  /// Whether this is where such a folder is kept.
  private(set) var isRelocated = false
  private(set) var sparse: SparseFile?
  private(set) var zisofs: ZisofsEntry?

  /// Reads all of a record's entries, the root's record of itself included.
  static func all(
    of record: ISODirectoryRecord, _ area: SystemUseArea, isRoot: Bool
  ) throws(DiskError) -> RockRidgeEntry {
    var found = RockRidgeEntry()
    // There the first entry says how many bytes the others skip, and none is skipped.
    try area.forEachEntry(of: record, skipping: isRoot ? 0 : nil) { (entry) throws(DiskError) in
      try found.take(entry)
    }
    return found
  }

  /// What a folder's listing needs: the name, the kind, and whether it is elsewhere. Stops at damage,
  /// which whoever looks at the item itself is told of.
  ///
  /// - Parameter mayBeRelocated: whether it is looked for up to the end that the record is such.
  static func listed(
    _ record: ISODirectoryRecord, _ area: SystemUseArea, mayBeRelocated: Bool = false
  ) -> RockRidgeEntry {
    var found = RockRidgeEntry()
    try? area.forEachEntry(of: record, within: .listing) { (entry) throws(DiskError) in
      try? found.take(entry)
    } goOn: {
      // Where a folder that is elsewhere is, mkisofs says behind all that.
      let isElsewhere =
        !record.isFolder && found.childBlock == nil
        && found.mode.flatMap { FileKind(mode: $0) } == .folder
      return !found.isNameComplete || found.mode == nil || isElsewhere
        || mayBeRelocated && !found.isRelocated
    }
    return found
  }

  private mutating func take(_ entry: SystemUseEntry) throws(DiskError) {
    switch entry.signature {
    case .name: try takeName(entry)
    case .attributes: try takeAttributes(entry)
    case .device: try takeDevice(entry)
    case .times: try times.take(entry)
    case .link:
      if link == nil { link = RockRidgeLink() }
      try link?.take(entry)
    case .child: childBlock = try entry.number(at: 4)
    case .relocated: isRelocated = true
    case .sparse: sparse = try SparseFile(entry)
    case .zisofs, .zisofs2: zisofs = try ZisofsEntry(entry)
    default: break
    }
  }

  private mutating func takeName(_ entry: SystemUseEntry) throws(DiskError) {
    let flags = try entry.reader.u8(at: 4)
    // The folder itself, its parent: those have no other name.
    guard flags & 0b110 == 0, !isNameComplete else { return }
    name += try entry.rest(from: 5)
    isNameComplete = flags & 1 == 0
    if name.count > Self.longestName {
      name.removeLast(name.count - Self.longestName)
      isNameComplete = true
    }
  }

  private mutating func takeAttributes(_ entry: SystemUseEntry) throws(DiskError) {
    mode = try entry.number(at: 4)
    links = try entry.number(at: 12)
    user = try entry.number(at: 20)
    group = try entry.number(at: 28)
    // Since 1.12.
    if entry.length >= 44 { serial = try entry.number(at: 36) }
  }

  /// The upper and lower half of a device's number. Writers differ: some put major and minor there, and
  /// some, the upper half being empty, both into the lower one, as Linux's C library has them.
  private mutating func takeDevice(_ entry: SystemUseEntry) throws(DiskError) {
    let (high, low) = (try entry.number(at: 4), try entry.number(at: 12))
    device =
      if high == 0, low > 0xFF {
        (low >> 8 & 0xFFF, low & 0xFF | low >> 12 & 0xFFF00)
      } else {
        (high, low)
      }
  }
}

extension FileKind {
  /// By the type in `st_mode`; nil for what is none of Linux's.
  init?(mode: UInt32) {
    switch mode >> 12 & 0xF {
    case 0o01: self = .pipe
    case 0o02: self = .characterDevice
    case 0o04: self = .folder
    case 0o06: self = .blockDevice
    case 0o10: self = .file
    case 0o12: self = .link
    case 0o14: self = .socket
    default: return nil
    }
  }
}
