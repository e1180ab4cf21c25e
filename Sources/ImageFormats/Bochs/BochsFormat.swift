public import DiskCore

/// Bochs's redologs: growing disks, and what undoable and volatile disks write beside their base.
/// Source: Bochs's iodev/hdimage/hdimage.h and hdimage.cc.
public struct BochsFormat: ImageFormat {
  public var name: String { "bochs" }
  public var aliases: [String] { ["redolog"] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches(BochsHeader.magic, at: 0)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let header = try BochsHeader(source.reader(at: .start, count: BochsHeader.byteCount))
    let image = try BochsRedolog(
      source, header: header,
      description: LayerDescription(
        format: "bochs", subformat: header.subtype.rawValue.lowercased(),
        details: [("extent size", "\(header.extentSize)")]))
    return ParsedImage([image], parent: header.parent(of: source.path))
  }
}

extension BochsHeader {
  /// What Bochs adds to the base's name (`UNDOABLE_REDOLOG_EXTENSION`); a volatile one gets six random
  /// characters, and a redolog can be given any name.
  private static let suffix = ".redolog"

  /// A redolog does not name its base. Bochs refuses a base of another size.
  fileprivate func parent(of path: String) -> ParentReference? {
    let name = PathParts(path).name
    let size = ParentReference.Expectation(
      ParentReference.Expectation.sizeInBytes, ["\(diskSize)"])
    switch subtype {
    case .growing:
      return nil
    case .undoable where name.hasSuffix(Self.suffix) && name != Self.suffix:
      let base = String(name.dropLast(Self.suffix.count))
      return ParentReference(name: base, paths: [base], expectations: [size])
    case .undoable, .volatile:
      return ParentReference(
        name: "the disk that the redolog was written for", paths: [],
        expectations: [.init(size.what, size.accepted, isStrict: false)])
    }
  }
}
