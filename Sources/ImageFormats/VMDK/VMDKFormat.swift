public import DiskCore

/// VMware's disks. Sources: VMware's Virtual Disk Format 1.1 (2007) and 5.0 (2011); for `seSparse`,
/// of which VMware has published nothing, what QEMU's `block/vmdk.c` says of its fields.
public struct VMDKFormat: ImageFormat {
  public var name: String { "vmdk" }
  public var aliases: [String] { [] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    VMDK.Magic(sample.head) != nil || VMDK.isDescriptor(sample.head)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let head = try source.reader(at: .start, count: Int(min(4096, source.size)))
    guard let magic = VMDK.Magic(head) else {
      var assembly = try VMDKAssembly(Self.descriptor(in: source, head), of: source, files)
      return try assembly.parsed(own: nil)
    }
    guard magic == .hosted else { return try VMDKLoneExtent.parsed(source, files) }
    let header = try VMDKHostedHeader(
      ByteReader(
        Array(head.bytes.prefix(VMDKHostedHeader.byteCount)), path: source.path))
    guard let descriptor = try Self.embedded(in: source, header) else {
      return try VMDKLoneExtent.parsed(source, files)
    }
    var assembly = try VMDKAssembly(descriptor, of: source, files)
    // A header without a size of its own: the descriptor stands for the whole disk.
    return try assembly.parsed(own: header.capacity == 0 ? nil : header)
  }

  /// The descriptor that `source` is.
  static func descriptor(in source: any Storage) throws(DiskError) -> VMDKDescriptor {
    try descriptor(in: source, source.reader(at: .start, count: Int(min(4096, source.size))))
  }

  private static func descriptor(
    in source: any Storage, _ head: ByteReader
  ) throws(DiskError) -> VMDKDescriptor {
    guard VMDK.isDescriptor(head) else {
      throw DiskError(
        .malformed,
        "is no VMDK: it starts neither as a sparse extent nor as a descriptor; '--format raw' shows "
          + "its bytes as they are stored", path: source.path, offset: 0)
    }
    guard source.size <= UInt64(VMDKDescriptor.mostBytes) else {
      throw DiskError(
        .unsupported,
        "starts as a VMDK descriptor but is \(source.size) bytes, and no more than "
          + "\(VMDKDescriptor.mostBytes) are read; '--format raw' shows its bytes as they are stored",
        path: source.path, offset: UInt64(VMDKDescriptor.mostBytes))
    }
    return try VMDKDescriptor(
      UInt64(head.count) == source.size
        ? head : source.reader(at: .start, count: Int(source.size)))
  }

  /// The descriptor in a sparse extent; nil where the place for it is empty, as in one of several
  /// extents.
  private static func embedded(
    in source: any Storage, _ header: VMDKHostedHeader
  ) throws(DiskError) -> VMDKDescriptor? {
    guard header.descriptor.start > 0, header.descriptor.count > 0 else { return nil }
    let sector = VMDK.sectorBytes
    guard header.descriptor.start < source.size / sector else {
      throw DiskError(
        .truncated, "its descriptor lies past the end of the file", path: source.path, offset: 28)
    }
    let start = FileOffset(header.descriptor.start * sector)
    // As far as it is text: the place for it is mostly much larger.
    let room = min(
      min(header.descriptor.count, source.size / sector) * sector, source.size - start.bytes)
    var text: [UInt8] = []
    while UInt64(text.count) < room {
      let count = min(2048, room - UInt64(text.count))
      text += try source.bytes(at: start + UInt64(text.count), count: Int(count))
      if text.suffix(Int(count)).contains(0) { break }
      guard text.count <= VMDKDescriptor.mostBytes else {
        throw DiskError(
          .unsupported, "a descriptor of more than \(VMDKDescriptor.mostBytes) bytes",
          path: source.path, offset: start.bytes)
      }
    }
    let reader = ByteReader(text, path: source.path, base: start.bytes)
    guard VMDKLines(text).contains(where: { !$0.isEmpty }) else { return nil }
    return try VMDKDescriptor(reader)
  }
}
