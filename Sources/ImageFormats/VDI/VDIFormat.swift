public import DiskCore

/// VirtualBox's own image format. Source: VirtualBox's VDICore.h and VDI.cpp; there is no
/// specification apart from them.
public struct VDIFormat: ImageFormat {
  public var name: String { "vdi" }
  public var aliases: [String] { ["virtualbox"] }

  public init() {}

  public func fits(_ sample: ImageSample) -> Bool {
    sample.head.matches(VDIHeader.signature, at: VDIHeader.signatureOffset)
  }

  public func open(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let header = try VDIHeader(source.reader(at: .start, count: VDIHeader.byteCount))
    let image = try VDIImage(source, header: header, description: header.description)
    return ParsedImage(
      [image], parent: header.parent,
      identity: ["UUID": [header.uuid], "modification UUID": [header.modificationUUID]])
  }
}

extension VDIHeader {
  /// VirtualBox keeps the paths of images in its registry: an image knows its parent by UUID only.
  /// Another modification UUID means that the parent was written to since, which VirtualBox refuses.
  fileprivate var parent: ParentReference? {
    guard hasParent else { return nil }
    guard let parentUUID else {
      return ParentReference(name: "an image whose UUID it does not say", paths: [])
    }
    var expectations = [ParentReference.Expectation("UUID", [parentUUID])]
    if let parentModificationUUID {
      expectations.append(.init("modification UUID", [parentModificationUUID]))
    }
    return ParentReference(
      name: "UUID \(parentUUID)", paths: [], format: "vdi", expectations: expectations)
  }

  fileprivate var description: LayerDescription {
    var details = [
      ("creator", printable(creator)), ("identifier", uuid),
      ("modification identifier", modificationUUID), ("block size", "\(blockSize)"),
    ]
    if let parentUUID { details.append(("parent identifier", parentUUID)) }
    if !comment.isEmpty { details.append(("comment", printable(comment))) }
    var notes: [String] = []
    if diskSize % 512 != 0 {
      notes.append(
        "the header says \(diskSize) bytes, which is no multiple of 512: tools that round up show a "
          + "longer disk")
    }
    if hasParent, type == .dynamic || type == .fixed {
      notes.append("names a parent although its header calls it \(type)")
    }
    return LayerDescription(
      format: "vdi", subformat: "\(type)", details: details.map { (name: $0.0, value: $0.1) },
      notes: notes)
  }
}
