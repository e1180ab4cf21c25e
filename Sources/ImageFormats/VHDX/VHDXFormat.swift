public import DiskCore

/// Hyper-V's image format since Windows Server 2012. Source: [MS-VHDX], Virtual Hard Disk v2 (VHDX)
/// File Format, version 8.0.
public struct VHDXFormat: ImageFormat {
  public var name: String { "vhdx" }
  public var aliases: [String] { [] }

  /// What children know their parent by.
  static let identityName = "data write GUID"
  static let sectorSizeName = "logical sector size"

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool { sample.head.matches("vhdxfile", at: 0) }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    var notes: [String] = []
    // The file type identifier: a signature, and who wrote it (2.2.1).
    let identifier = try source.reader(at: .start, count: 520)
    guard identifier.matches("vhdxfile", at: 0) else {
      throw DiskError(
        .malformed,
        "does not start as a VHDX does; '--format raw' shows its bytes as they are stored",
        path: source.path, offset: 0)
    }
    let header = try VHDXHeader.current(of: source, &notes)
    let stored = source
    var checksums = VHDXHeader.checksums(of: stored)
    let source = try VHDXLog.replayed(stored, header, &notes, &checksums)
    checksums += VHDXRegions.checksums(of: source)
    let regions = try VHDXRegions.read(source, log: header.log, &notes)
    let metadata = try VHDXMetadata(source, in: regions.metadata)
    let parent = try metadata.parentLocator.map { (item) throws(DiskError) in
      try VHDXParentLocator(item, sectorSize: metadata.sectorSize).reference
    }
    var details = [(name: "creator", value: printable(try identifier.utf16(at: 8, units: 256)))]
    if let disk = metadata.identifier { details.append((name: "identifier", value: disk)) }
    details.append((name: "block size", value: "\(metadata.blockSize)"))
    details.append((name: "logical sector size", value: "\(metadata.sectorSize)"))
    if let physical = metadata.physicalSectorSize {
      details.append((name: "physical sector size", value: "\(physical)"))
    }
    if let parent { details.append((name: "parent", value: printable(parent.name))) }
    let subformat =
      metadata.hasParent ? "differencing" : metadata.leavesBlocksAllocated ? "fixed" : "dynamic"
    let image = try VHDXImage(
      source, regions: regions, metadata: metadata,
      description: LayerDescription(
        format: "vhdx", subformat: subformat, details: details, notes: notes),
      checksums: checksums)
    return ParsedImage(
      [image], parent: parent,
      identity: [
        Self.identityName: [header.dataWriteGUID],
        Self.sectorSizeName: ["\(metadata.sectorSize)"],
      ])
  }
}
