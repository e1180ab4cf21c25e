public import DiskCore

/// Parallels' disks: an expanding image by itself, or a bundle by its DiskDescriptor.xml. Sources:
/// QEMU's docs/interop/parallels.txt and prl-xml.txt, which Virtuozzo wrote.
public struct ParallelsFormat: ImageFormat {
  public var name: String { "parallels" }
  public var aliases: [String] { ["hdd", "hds"] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    ParallelsHeader.variant(sample.head) != nil || Self.isDescriptor(sample.head)
  }

  /// An XML file whose root is `Parallels_disk_image`.
  private static func isDescriptor(_ head: ByteReader) -> Bool {
    var start = head.bytes[...]
    if start.starts(with: [0xef, 0xbb, 0xbf]) { start = start.dropFirst(3) }
    start = start.drop { [0x20, 0x09, 0x0a, 0x0d].contains($0) }
    guard start.starts(with: "<?xml".utf8) else { return false }
    let root = Array("<Parallels_disk_image".utf8)
    return start.indices.contains { start[$0] == root[0] && start[$0...].starts(with: root) }
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let head = try source.reader(at: .start, count: Int(min(4096, source.size)))
    guard ParallelsHeader.variant(head) == nil, Self.isDescriptor(head) else {
      return ParsedImage(
        try Self.image(source, hasParent: false, beside: Self.descriptor(of: source, files)))
    }
    return ParsedImage(try ParallelsBundle(source, files).layers())
  }

  /// - Parameter descriptor: of the bundle that it is in, where that was not what led to it.
  static func image(
    _ source: any Storage, hasParent: Bool, beside descriptor: ParallelsDescriptor? = nil
  ) throws(DiskError) -> ParallelsImage {
    let header = try ParallelsHeader(source.reader(at: .start, count: ParallelsHeader.byteCount))
    var notes: [String] = []
    if header.isMarkedInUse {
      notes.append(
        "the image was not closed: a machine is using it, or what used it last crashed")
    }
    if header.isMarkedEmpty {
      notes.append("the header calls the disk empty; what its table says is shown all the same")
    }
    let name = PathParts(source.path).name
    if let descriptor, descriptor.isOnlyAPart(name) {
      notes.append(
        "is one of several image files of a disk and is shown by itself: "
          + "\(ParallelsDescriptor.fileName) beside it is the whole")
    }
    return try ParallelsImage(
      source, header: header, hasParent: hasParent,
      description: LayerDescription(
        format: "parallels", subformat: "expanding",
        details: [
          ("variant", header.variant == .old ? "WithoutFreeSpace" : "WithouFreSpacExt"),
          ("cluster size", "\(UInt64(header.clusterSectors) * 512)"),
          ("geometry", "\(header.geometry.cylinders)/\(header.geometry.heads)"),
        ], notes: notes))
  }

  private static func descriptor(
    of source: any Storage, _ files: NamedFiles
  ) -> ParallelsDescriptor? {
    guard
      let storage = try? files.open(
        ParallelsDescriptor.fileName, namedBy: source.path, as: "disk descriptor")
    else { return nil }
    return try? ParallelsDescriptor(storage)
  }
}

extension ParallelsDescriptor {
  /// Whether the image file of that name is not all of a disk.
  fileprivate func isOnlyAPart(_ name: String) -> Bool {
    let images = parts.flatMap(\.images)
    return images.count > 1 && images.contains { PathParts($0.file).name == name }
  }
}
