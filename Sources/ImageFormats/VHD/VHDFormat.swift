public import DiskCore

/// Virtual PC's and Hyper-V's first image format. Source: Virtual Hard Disk Image Format
/// Specification 1.0 (Microsoft, 2006).
public struct VHDFormat: ImageFormat {
  public var name: String { "vhd" }
  public var aliases: [String] { ["vpc"] }
  public var isKnownByEnd: Bool { true }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches(VHDFooter.cookie, at: 0)
      || Self.footerLengths.contains {
        sample.tail.matches(VHDFooter.cookie, at: sample.tail.count - $0)
      }
  }

  /// Virtual PC before 2004 wrote footers of 511 bytes.
  private static let footerLengths = [512, 511]

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    var notes: [String] = []
    let (footer, dataEnd) = try Self.footer(of: source, &notes)
    guard footer.type != .fixed else {
      if footer.currentSize > dataEnd.bytes {
        notes.append(
          "the file is truncated: the disk is \(footer.currentSize) bytes, of which the file has "
            + "\(dataEnd.bytes); what is missing cannot be read")
      }
      return ParsedImage(
        [
          VHDFixedImage(
            source, footer: footer, dataEnd: dataEnd,
            description: footer.description("fixed", [], notes))
        ], identity: footer.identity(of: source))
    }
    let header = try VHDDynamicHeader(
      source.reader(at: footer.dataOffset, count: VHDDynamicHeader.byteCount))
    if !header.hasValidChecksum {
      notes.append("the checksum of the dynamic disk header is wrong")
    }
    var details = [(name: "block size", value: "\(header.blockSize)")]
    var parent: ParentReference? = nil
    if footer.type == .differencing {
      let reference = header.parent(in: source, &notes)
      details.append((name: "parent", value: printable(reference.name)))
      details.append((name: "parent identifier", value: header.parentUUID))
      parent = reference
    }
    return ParsedImage(
      [
        try VHDDynamicImage(
          source, footer: footer, header: header, dataEnd: dataEnd,
          description: footer.description(
            footer.type == .differencing ? "differencing" : "dynamic", details, notes))
      ], parent: parent, identity: footer.identity(of: source))
  }

  /// The footer at the end, or where that is damaged its copy at the start; and where in the file the
  /// disk's data ends at the latest.
  private static func footer(
    of source: any Storage, _ notes: inout [String]
  ) throws(DiskError) -> (VHDFooter, dataEnd: FileOffset) {
    var damaged: (VHDFooter, FileOffset)? = nil
    var failure: DiskError? = nil
    for length in footerLengths where source.size >= UInt64(length) {
      let place = FileOffset(source.size - UInt64(length))
      let reader = try source.reader(at: place, count: length)
      guard reader.matches(VHDFooter.cookie, at: 0) else { continue }
      do throws(DiskError) {
        let footer = try VHDFooter(reader)
        if footer.hasValidChecksum { return (footer, place) }
        damaged = (footer, place)
      } catch {
        failure = error
      }
    }
    if source.size >= UInt64(VHDFooter.byteCount),
      let copy = try? VHDFooter(source.reader(at: .start, count: VHDFooter.byteCount)),
      copy.hasValidChecksum, copy.type != .fixed
    {
      notes.append(
        "the footer at the end of the file is missing or damaged; its copy at the start was used")
      return (copy, FileOffset(source.size))
    }
    // A fixed disk has no copy. Its few fields that matter were checked one by one.
    if let damaged, damaged.0.type == .fixed, damaged.0.currentSize <= damaged.1.bytes {
      notes.append("the footer's checksum is wrong")
      return damaged
    }
    throw failure
      ?? DiskError(
        .malformed,
        damaged == nil
          ? "has no VHD footer at its end; '--format raw' shows its bytes as they are stored"
          : "the VHD footer's checksum is wrong and there is no "
            + "copy", path: source.path,
        offset: source.size - min(source.size, UInt64(VHDFooter.byteCount)))
  }
}

extension VHDFooter {
  /// The creators whose sizes QEMU takes from the footer; for others it goes by the geometry
  /// (measured with qemu-img 7.2).
  private static let creatorsWithExactSize = ["win", "qem2", "d2v", "tap", "vsim"]

  fileprivate func description(
    _ subformat: String, _ more: [(name: String, value: String)], _ notes: [String]
  ) -> LayerDescription {
    var notes = notes
    if geometrySize != currentSize, !Self.creatorsWithExactSize.contains(creator) {
      notes.append(
        "the footer says \(currentSize) bytes, its geometry \(geometrySize): tools that go by the "
          + "geometry show a shorter disk")
    }
    return LayerDescription(
      format: "vhd", subformat: subformat,
      details: [
        ("creator", printable(creator)), ("identifier", uuid),
        ("geometry", "\(geometry.cylinders)/\(geometry.heads)/\(geometry.sectors)"),
      ] + more, notes: notes)
  }
}
