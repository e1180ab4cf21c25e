public import DiskCore

/// QEMU's own format. Source: docs/interop/qcow2.txt of QEMU.
public struct QCOW2Format: ImageFormat {
  public var name: String { "qcow2" }
  public var aliases: [String] { [] }

  /// QEMU's limit, in bytes; a table that claims more is not looked at, for reading does not need it.
  private static let largestRefcountTable: UInt64 = 8 << 20

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches(QCOW2Header.magic, at: 0) && !sample.head.matches([0, 0, 0, 1], at: 4)
      && sample.head.count >= 8
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let header = try QCOW2Header(source.reader(at: .start, count: Int(min(512, source.size))))
    let extensions = try QCOW2Extensions(source, header)
    try header.features.check(extensions.featureNames, path: source.path)
    try Self.refuseEncryption(header, source)
    let compression = try header.compression(path: source.path)
    let layout = QCOW2Layout(
      clusterBits: header.clusterBits, hasSubclusters: header.features.has(.extendedL2),
      hasDataFile: header.features.has(.dataFile), hasZeroClusters: header.version >= 3)
    // 32 subclusters of at least a sector.
    guard !layout.hasSubclusters || layout.clusterBits >= 14 else {
      throw DiskError(
        .malformed,
        "has subclusters in clusters of \(layout.clusterSize) bytes; 16384 are the least",
        path: source.path, offset: 20)
    }
    let parent = try Self.parent(source, header, extensions)
    let data = try Self.dataFile(source, layout, extensions, files)
    let snapshots = try QCOW2Snapshots(source, header)
    var notes = header.features.notes + snapshots.notes
    if parent != nil, parent?.format == nil {
      notes.append("it does not say which format its backing file has: that is found by content")
    }
    let structures = Self.structures(header, snapshots, source, &notes)
    let clusters = QCOW2Clusters(
      layout, source: source, data: data ?? source, hasParent: parent != nil,
      decoder: QEMUClusterDecoder(source, header, compression),
      structures: structures)
    let description = LayerDescription(
      format: "qcow2", subformat: "v\(header.version)",
      details: Self.details(header, extensions, compression, snapshots), notes: notes)
    let image = try QCOW2Image(
      clusters, size: extensions.platter?.diskSize(header: header.size) ?? header.size,
      table: header.l1, isWhole: true, field: 36,
      description: description)
    return ParsedImage(
      [image], parent: parent,
      snapshots: snapshots.internalSnapshots(
        clusters, header, extensions.platter, description))
  }

  private static func refuseEncryption(
    _ header: QCOW2Header, _ source: any Storage
  ) throws(DiskError) {
    let method: String
    switch header.cryptMethod {
    case 0: return
    case 1: method = "AES"
    case 2: method = "LUKS"
    default:
      throw DiskError(
        .malformed, "has encryption method \(header.cryptMethod), which is none",
        path: source.path, offset: 32)
    }
    throw DiskError(
      .unsupported,
      "is encrypted (\(method)), which this version of Platter does not read; 'qemu-img convert' "
        + "with its key makes a plain image of it", path: source.path, offset: 32)
  }

  private static func parent(
    _ source: any Storage, _ header: QCOW2Header, _ extensions: QCOW2Extensions
  ) throws(DiskError) -> ParentReference? {
    guard let place = header.backingName else { return nil }
    guard extensions.backingFormat != OwnFormatName.snapshot else {
      throw DiskError(
        .unsupported,
        "holds changes of a snapshot, and does not say of which: 'platter mount --overlay FILE "
          + "--snapshot NAME IMAGE' shows it", path: source.path)
    }
    let reader = try source.reader(at: FileOffset(place.offset), count: place.count)
    let name = QEMUFileName.text(reader.bytes[...])
    return name.isEmpty ? nil : QEMUFileName(name).parent(format: extensions.backingFormat)
  }

  private static func dataFile(
    _ source: any Storage, _ layout: QCOW2Layout, _ extensions: QCOW2Extensions, _ files: NamedFiles
  ) throws(DiskError) -> (any Storage)? {
    guard layout.hasDataFile else { return nil }
    guard let name = extensions.dataFile else {
      throw DiskError(
        .unsupported, "keeps its data in another file and does not say in which", path: source.path,
        offset: 72)
    }
    return try QEMUFileName(name).open(for: source, files, as: "data file")
  }

  /// Where no cluster can be, in whole clusters.
  private static func structures(
    _ header: QCOW2Header, _ snapshots: QCOW2Snapshots, _ source: any Storage,
    _ notes: inout [String]
  ) -> [Range<UInt64>] {
    let unit = header.clusterSize
    var ranges = [0..<unit]
    func add(_ start: UInt64, _ bytes: UInt64) -> Bool {
      guard start % unit == 0, start <= source.size, bytes <= source.size - start else {
        return false
      }
      if bytes > 0 { ranges.append(start..<start + (bytes + unit - 1) / unit * unit) }
      return true
    }
    // What is wrong with this one, `QCOW2Image` says.
    _ = add(header.l1.offset, UInt64(header.l1.count) * 8)
    _ = add(header.snapshots.offset, snapshots.byteCount)
    let refcounts = UInt64(header.refcountTable.clusters) * unit
    if refcounts > largestRefcountTable || !add(header.refcountTable.offset, refcounts) {
      notes.append(
        "its header names a table of reference counts that cannot be (\(refcounts) bytes at byte "
          + "\(header.refcountTable.offset)), which does not matter for reading")
    }
    return ranges
  }

  private static func details(
    _ header: QCOW2Header, _ extensions: QCOW2Extensions,
    _ compression: QEMUClusterDecoder.Compression,
    _ snapshots: QCOW2Snapshots
  ) -> [(name: String, value: String)] {
    var details: [(name: String, value: String)] = [
      ("compat", header.version == 2 ? "0.10" : "1.1"),
      ("cluster size", "\(header.clusterSize)"),
      ("compression type", "\(compression)"),
      ("refcount bits", "\(1 << Int(header.refcountOrder))"),
    ]
    if header.version >= 3 {
      details.append(("lazy refcounts", header.features.hasLazyRefcounts ? "yes" : "no"))
      details.append(("extended L2", header.features.has(.extendedL2) ? "yes" : "no"))
    }
    if header.features.has(.dataFile), let name = extensions.dataFile {
      details.append(("data file", printable(name)))
      details.append(("data file raw", header.features.hasRawDataFile ? "yes" : "no"))
    }
    if extensions.bitmaps > 0 { details.append(("bitmaps", "\(extensions.bitmaps)")) }
    if header.snapshots.count > 0 { details.append(("snapshots", "\(header.snapshots.count)")) }
    return details
  }
}
