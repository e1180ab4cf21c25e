internal import DiskCore

/// Puts a disk together from its descriptor.
struct VMDKAssembly {
  private let source: any Storage
  private let files: NamedFiles
  private let descriptor: VMDKDescriptor
  private let parent: ParentReference?
  /// The files that extents name, each opened once.
  private var opened: [String: any Storage] = [:]
  private var sparse: [VMDKSparseFile] = []
  private var notes: [String] = []
  private var unclean: [String] = []

  init(
    _ descriptor: VMDKDescriptor, of source: any Storage, _ files: NamedFiles
  ) throws(DiskError) {
    self.descriptor = descriptor
    self.source = source
    self.files = files
    try Self.checkReadable(descriptor, source)
    parent = try descriptor.parent()
    if parent == nil, descriptor.parentHint?.isEmpty == false {
      notes.append("names a parent, but has a parentCID of none: read as standing alone")
    }
  }

  /// - Parameter own: the header of the sparse extent that `source` is itself; nil for a descriptor
  ///   that holds no data.
  mutating func parsed(own: VMDKHostedHeader?) throws(DiskError) -> ParsedImage {
    var layers: [(layer: any ImageLayer, length: UInt64)] = []
    if let own, descriptor.extents.count <= 1 {
      // The header's word, whatever the file was called when the descriptor was written.
      let layer = try add(VMDKSparseFile(hosted: own, source, hasParent: parent != nil), source)
      layers.append((layer, layer.size))
      if let line = descriptor.extents.first,
        line.sectors.multipliedReportingOverflow(by: VMDK.sectorBytes) != (layer.size, false)
      {
        notes.append(
          "the descriptor says \(line.sectors) sectors, the header "
            + "\(layer.size / VMDK.sectorBytes), which was used")
      }
    } else {
      guard !descriptor.extents.isEmpty else {
        throw DiskError(
          .malformed, "the descriptor names no extent", path: source.path,
          offset: descriptor.place.bytes)
      }
      for line in descriptor.extents where line.sectors > 0 {
        layers.append((try layer(line), line.sectors * VMDK.sectorBytes))
      }
    }
    if let first = unclean.first {
      notes.append(
        "'\(printable(first))'"
          + (unclean.count > 1 ? " and \(unclean.count - 1) more were" : " was")
          + " not closed cleanly: what was written last may be missing")
    }
    if notes.count > Self.mostNotes {
      let more = notes.count - Self.mostNotes
      notes.replaceSubrange(Self.mostNotes..., with: ["and \(more) more like these"])
    }
    let description = description(extents: layers.count)
    return ParsedImage(
      [VMDKImage(source, try LayerRow(layers, description: description), description: description)],
      parent: parent, identity: try descriptor.identity())
  }

  private mutating func layer(_ line: VMDKExtentLine) throws(DiskError) -> any ImageLayer {
    let size = line.sectors * VMDK.sectorBytes
    guard !line.isBarred else {
      return VMDKFilelessExtent(
        .unreadable(
          DiskError(
            .unsupported, "the descriptor bars access to this extent (NOACCESS)",
            path: source.path, offset: line.place.bytes)), size: size, saidBy: source)
    }
    switch line.kind {
    case .zero:
      return VMDKFilelessExtent(.zero, size: size, saidBy: source)
    case .device:
      throw Self.device(source, line.place)
    case .flat:
      let extent = VMDKFlatExtent(
        try file(line), at: line.firstSector * VMDK.sectorBytes, size: size)
      if extent.storedBytes < size {
        notes.append(
          "the extent '\(printable(line.name))' is truncated: \(extent.storedBytes) of \(size) bytes "
            + "are there; what is missing cannot be read")
      }
      return extent
    case .sparse:
      let file = try file(line)
      let extent = try VMDKSparseFile(file, hasParent: parent != nil)
      guard extent.layer.size >= size else {
        throw DiskError(
          .malformed,
          "its extent '\(printable(line.name))' holds \(extent.layer.size) bytes of the disk where "
            + "\(size) belong", path: source.path, offset: line.place.bytes)
      }
      return add(extent, file)
    }
  }

  private mutating func add(
    _ file: VMDKSparseFile, _ storage: any Storage
  ) -> any ImageLayer {
    let name = PathParts(storage.path).name
    if file.isUnclean { unclean.append(name) }
    for note in file.notes {
      notes.append("'\(printable(name))': \(note)")
    }
    if sparse.isEmpty { sparse.append(file) }
    return file.layer
  }

  /// How many notes are kept of a disk of thousands of extents.
  private static let mostNotes = 8

  /// The file that the line names, which on the writer's system may have been anywhere.
  private mutating func file(_ line: VMDKExtentLine) throws(DiskError) -> any Storage {
    if let open = opened[line.name] { return open }
    if line.name == PathParts(source.path).name { return source }
    var refusal: DiskError? = nil
    for path in ForeignPath.candidates(line.name) {
      do throws(DiskError) {
        let file = try files.open(path, namedBy: source.path, as: "extent", ignoringCase: true)
        opened[line.name] = file
        return file
      } catch {
        if refusal == nil || (refusal?.kind == .notFound && error.kind != .notFound) {
          refusal = error
        }
      }
    }
    let cause =
      refusal ?? DiskError(.notFound, "its extent '\(printable(line.name))' was not found")
    throw DiskError(
      cause.kind, cause.message, path: source.path, offset: line.place.bytes,
      systemError: cause.systemError)
  }

  private func description(extents: Int) -> LayerDescription {
    let own: [(String, String?)] = [
      ("CID", (try? descriptor.contentID(.own)) ?? nil), ("identifier", descriptor.uuid(.own)),
      ("adapter", descriptor.adapterType), ("grain size", sparse.first.map { "\($0.grainBytes)" }),
      ("extents", extents > 1 ? "\(extents)" : nil),
    ]
    return LayerDescription(
      format: "vmdk",
      subformat: printable(descriptor.createType ?? sparse.first?.subformat ?? "custom"),
      details: own.compactMap { name, value in value.map { (name, printable($0)) } }, notes: notes)
  }

  private static func checkReadable(
    _ descriptor: VMDKDescriptor, _ source: any Storage
  ) throws(DiskError) {
    if descriptor.isEncrypted {
      throw DiskError(
        .unsupported,
        "is an encrypted VMDK, which Platter does not read; decrypt it with the "
          + "program that made it", path: source.path, offset: descriptor.place.bytes)
    }
    if let type = descriptor.createType?.lowercased(), deviceTypes.contains(type) {
      throw device(source, descriptor.place)
    }
  }

  /// The types of disk whose data is on a device of the machine that they were made on (Virtual Disk
  /// Format 5.0, "The Header", `createType`).
  private static let deviceTypes: Set<String> = [
    "fulldevice", "partitioneddevice", "vmfsraw", "vmfsrawdevicemap", "vmfsrdm", "vmfsrdmp",
    "vmfspassthroughrawdevicemap",
  ]

  private static func device(_ source: any Storage, _ place: FileOffset) -> DiskError {
    DiskError(
      .unsupported,
      "stands for a device of the machine that it was made on and holds no disk itself; open that "
        + "device or an image of it", path: source.path, offset: place.bytes)
  }
}
