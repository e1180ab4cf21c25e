internal import DiskCore
internal import ImageFormats

/// The header of a qcow2 file that is written to: an overlay, or its base (qcow2 specification, "Header" and "Header
/// extensions").
struct OverlayHeader: Sendable {
  static let magic: UInt32 = 0x5146_49fb
  /// With the compression type and its padding, as QEMU writes it.
  static let byteCount = 112
  static let extendedL2: UInt64 = 1 << 4
  /// Only an announcement of the field that says how clusters are compressed.
  private static let compressionType: UInt64 = 1 << 3
  /// Counts of 16 bits each.
  static let refcountOrder: UInt32 = 4
  /// Where the refcount table's place and length stand: 12 bytes in the file's first sector.
  static let refcountTableField = 48
  static let autoclearField: UInt64 = 88
  /// Where the L1 table's place stands: 8 bytes, in the first sector too.
  static let l1Field = 40
  /// Where the number of snapshots and the place of their table stand: 12 bytes.
  static let snapshotsField = 60
  /// QEMU opens no larger refcount table.
  static let largestRefcountTable: UInt64 = 8 << 20

  /// What a file is to be.
  enum Role: Sendable {
    /// Of Platter's, with what it knows of its base.
    case overlay
    /// Any that changes can be put into.
    case base
  }

  private enum ExtensionType {
    static let end: UInt32 = 0
    static let backingFormat: UInt32 = 0xe279_2aca
    static let featureNames: UInt32 = 0x6803_f857
    static let bitmaps: UInt32 = 0x2385_2875
  }

  var geometry: OverlayGeometry
  /// In bytes, a multiple of 512.
  var virtualSize: UInt64
  var l1Offset: UInt64
  var l1Count: Int
  var refcountTableOffset: UInt64
  var refcountTableClusters: UInt64
  var snapshotCount = 0
  var snapshotsOffset: UInt64 = 0
  var base: OverlayBase?
  /// The auto-clear features, of which none is known here.
  var unknownFeatures: UInt64 = 0
  var platter: OverlayExtension
  /// Where in the file the private extension's data starts; writing the header sets it. 0 where there
  /// is none.
  var platterPlace: UInt64 = 0
  /// Where the base's name is; writing the header sets it.
  var namePlace: UInt64 = 0
  /// Where the extensions end; writing the header sets it.
  var extensionsEnd: UInt64 = 0

  /// Where in the file the word of state stands; nil where there is none.
  var statePlace: UInt64? {
    platterPlace == 0 ? nil : platterPlace + UInt64(OverlayExtension.stateOffset)
  }
  /// The base's name has two places, as the records have.
  static let roomForName: UInt64 = 1024
}

extension OverlayHeader {
  /// The disk's size in bytes: the exact one, unless somebody resized the disk since.
  var size: UInt64 {
    PlatterExtension.diskSize(exact: platter.exactSize, header: virtualSize)
  }

  /// - Throws: `invalidRequest` where a commit began and did not end: only another one may go on.
  func requireNoCommit(_ path: String) throws(DiskError) {
    guard platter.state & OverlayExtension.commitMark == 0 else {
      throw DiskError(
        .invalidRequest,
        "putting its changes into the base was interrupted; 'platter overlay commit' finishes it",
        path: path)
    }
  }

  /// The header, its extensions and the base's name, which share the first cluster.
  ///
  /// - Throws: `invalidRequest` where they do not fit in it.
  mutating func bytes() throws(DiskError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.byteCount)
    bytes.putBig(Self.magic, at: 0)
    bytes.putBig(UInt32(3), at: 4)
    bytes.putBig(UInt32(geometry.bits), at: 20)
    bytes.putBig(virtualSize, at: 24)
    bytes.putBig(UInt32(l1Count), at: 36)
    bytes.putBig(l1Offset, at: Self.l1Field)
    bytes.putBig(refcountTableOffset, at: Self.refcountTableField)
    bytes.putBig(UInt32(refcountTableClusters), at: Self.refcountTableField + 8)
    bytes.putBig(UInt32(snapshotCount), at: Self.snapshotsField)
    bytes.putBig(snapshotsOffset, at: Self.snapshotsField + 4)
    bytes.putBig(Self.extendedL2, at: 72)
    bytes.putBig(Self.refcountOrder, at: 96)
    bytes.putBig(UInt32(Self.byteCount), at: 100)
    func append(_ type: UInt32, _ data: [UInt8]) {
      bytes.appendBig(type)
      bytes.appendBig(UInt32(data.count))
      bytes += data
      bytes.padToEight()
    }
    if let base { append(ExtensionType.backingFormat, Array(base.format.utf8)) }
    // Early, so that what says what is valid lies in the file's first sector.
    platterPlace = UInt64(bytes.count + 8)
    append(OverlayExtension.type, platter.bytes)
    append(ExtensionType.featureNames, Self.featureNames)
    append(ExtensionType.end, [])
    extensionsEnd = UInt64(bytes.count)
    if let base {
      namePlace = extensionsEnd
      bytes.putBig(namePlace, at: 8)
      bytes.putBig(UInt32(base.name.utf8.count), at: 16)
      bytes += Array(base.name.utf8)
      bytes += [UInt8](repeating: 0, count: Int(extensionsEnd + 2 * Self.roomForName) - bytes.count)
    }
    guard UInt64(bytes.count) <= geometry.clusterSize else {
      throw DiskError(
        .invalidRequest,
        "what must be known of the base takes \(bytes.count) bytes, and the header has "
          + "\(geometry.clusterSize)")
    }
    return bytes
  }

  /// What an old reader says of a feature that it does not know: 48 bytes a feature.
  private static var featureNames: [UInt8] {
    var bytes: [UInt8] = [0, 4]
    bytes += Array("extended L2 entries".utf8)
    return bytes + [UInt8](repeating: 0, count: 48 - bytes.count)
  }

  /// Reads the header of `file`.
  ///
  /// - Throws: `malformed` for what is no qcow2 file or contradicts itself; `unsupported` for what
  ///   only QEMU can write to.
  init(of file: any Storage, as role: Role = .overlay) throws(DiskError) {
    let fixed = try file.reader(at: .start, count: Int(min(file.size, 104)))
    guard fixed.matches([0x51, 0x46, 0x49, 0xfb], at: 0) else {
      throw DiskError(.malformed, "is not a qcow2 file", path: file.path, offset: 0)
    }
    func refuse(_ what: String, at offset: UInt64, _ kind: DiskError.Kind = .unsupported)
      -> DiskError
    { DiskError(kind, what, path: file.path, offset: offset) }

    let version = try fixed.u32(at: 4, .big)
    guard version == 3 else {
      throw refuse(
        role == .overlay
          ? "is qcow2 version \(version); overlays are version 3"
          : "is qcow2 version \(version), which takes no changes; `qemu-img amend -f qcow2 -o "
            + "compat=1.1 \(shellWord(file.path))` makes it version 3", at: 4)
    }
    let features = try fixed.u64(at: 72, .big)
    let hasSubclusters = features & Self.extendedL2 != 0
    let bits = Int(try fixed.u32(at: 20, .big))
    let range =
      hasSubclusters ? OverlayGeometry.clusterBitsWithSubclusters : OverlayGeometry.clusterBits
    guard range.contains(bits) else {
      throw refuse(
        "clusters of 2^\(bits) bytes; they have 2^\(range.lowerBound) to 2^\(range.upperBound)",
        at: 20)
    }
    geometry = OverlayGeometry(bits: bits, hasSubclusters: hasSubclusters)
    guard features & 1 == 0 else {
      throw refuse(
        "was not closed by the program that wrote it; `qemu-img check -r all` repairs it", at: 72)
    }
    guard features & 2 == 0 else {
      throw refuse("is marked as corrupt; `qemu-img check -r all` may repair it", at: 72)
    }
    switch role {
    case .overlay:
      guard features == Self.extendedL2 else {
        throw refuse(
          "is a qcow2 file without the subclusters that overlays have, or with features that they "
            + "do not have", at: 72)
      }
    case .base:
      guard features & ~(Self.extendedL2 | Self.compressionType) == 0 else {
        throw refuse(
          "keeps its data in another file, or has a feature that Platter does not write", at: 72)
      }
    }
    guard try fixed.u32(at: 32, .big) == 0 else { throw refuse("is encrypted", at: 32) }
    guard try fixed.u32(at: 96, .big) == Self.refcountOrder else {
      throw refuse("its reference counts do not have 16 bits", at: 96)
    }
    unknownFeatures = try fixed.u64(at: Int(Self.autoclearField), .big)
    virtualSize = try fixed.u64(at: 24, .big)
    l1Count = Int(try fixed.u32(at: 36, .big))
    l1Offset = try fixed.u64(at: 40, .big)
    refcountTableOffset = try fixed.u64(at: 48, .big)
    refcountTableClusters = UInt64(try fixed.u32(at: 56, .big))
    snapshotCount = Int(try fixed.u32(at: Self.snapshotsField, .big))
    // Without snapshots it says nothing.
    snapshotsOffset =
      snapshotCount == 0 ? 0 : try fixed.u64(at: Self.snapshotsField + 4, .big)
    let headerCount = Int(try fixed.u32(at: 100, .big))
    guard headerCount >= 104, headerCount.isMultiple(of: 8), headerCount <= 4096 else {
      throw refuse("a header of \(headerCount) bytes", at: 100, .malformed)
    }

    let first = try file.reader(at: .start, count: Int(min(file.size, geometry.clusterSize)))
    let nameOffset = try fixed.u64(at: 8, .big)
    let nameCount = Int(try fixed.u32(at: 16, .big))
    guard nameOffset <= UInt64(first.count), nameOffset == 0 || nameCount <= OverlayBase.longestName
    else { throw refuse("the base's name lies outside the header", at: 8, .malformed) }
    let end = nameOffset == 0 ? first.count : Int(nameOffset)

    var format = ""
    var found: (platter: OverlayExtension, at: Int)? = nil
    var place = headerCount
    while place + 8 <= end {
      let type = try first.u32(at: place, .big)
      let length = Int(try first.u32(at: place + 4, .big))
      extensionsEnd = UInt64(place + 8)
      guard type != ExtensionType.end else { break }
      guard length <= end - place - 8 else {
        throw refuse("a header extension ends outside the header", at: UInt64(place), .malformed)
      }
      let data = Array(try first.slice(at: place + 8, count: length))
      switch type {
      case ExtensionType.backingFormat: format = String(decoding: data, as: UTF8.self)
      case ExtensionType.bitmaps:
        throw refuse("has dirty bitmaps, which Platter does not keep up to date", at: UInt64(place))
      case OverlayExtension.type:
        let reader = ByteReader(data, path: file.path, base: UInt64(place + 8))
        found = (try OverlayExtension(reader), place + 8)
      default: break
      }
      place += 8 + (length + 7) / 8 * 8
    }
    if let found {
      platter = found.platter
      platterPlace = UInt64(found.at)
    } else {
      guard role == .base else {
        throw refuse("was not made by Platter, or its own header extension was lost", at: 0)
      }
      platter = OverlayExtension(
        state: 0, exactSize: virtualSize, files: [], roomForRecords: 0)
    }
    namePlace = nameOffset
    if nameOffset != 0 {
      let name = try first.slice(at: Int(nameOffset), count: nameCount)
      base = OverlayBase(
        name: String(decoding: name, as: UTF8.self), format: format, identity: platter.files)
    }
    try check(file)
  }

  /// The tables lie in the file, and the L1 table maps the whole disk.
  private func check(_ file: any Storage) throws(DiskError) {
    func refuse(_ what: String, at offset: UInt64) -> DiskError {
      DiskError(.malformed, what, path: file.path, offset: offset)
    }
    guard virtualSize <= Limits.largestDisk, virtualSize.isMultiple(of: 512) else {
      throw refuse("a disk of \(virtualSize) bytes", at: 24)
    }
    let needed = (virtualSize + geometry.bytesPerTable - 1) / geometry.bytesPerTable
    guard l1Count <= Limits.largestMetadataRead / 8, needed <= UInt64(l1Count) else {
      throw refuse(
        "an L1 table of \(l1Count) entries for a disk of \(virtualSize) bytes", at: 36)
    }
    let size = file.size
    func lies(_ offset: UInt64, _ length: UInt64) -> Bool {
      offset > 0 && offset.isMultiple(of: geometry.clusterSize) && offset <= size
        && length <= size - offset
    }
    guard l1Count == 0 || lies(l1Offset, UInt64(l1Count) * 8) else {
      throw refuse("the L1 table does not lie in the file", at: 40)
    }
    let (length, overflow) = refcountTableClusters.multipliedReportingOverflow(
      by: geometry.clusterSize)
    guard !overflow, length > 0, length <= Self.largestRefcountTable,
      lies(refcountTableOffset, length)
    else { throw refuse("the refcount table does not lie in the file", at: 48) }
    guard snapshotCount <= StoredSnapshot.most else {
      throw refuse(
        "\(snapshotCount) snapshots, of which there can be \(StoredSnapshot.most)", at: 60)
    }
    guard snapshotCount == 0 || lies(snapshotsOffset, 40) else {
      throw refuse("the table of its snapshots does not lie in the file", at: 64)
    }
  }
}
