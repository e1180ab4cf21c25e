internal import DiskCore

/// What a bundle's DiskDescriptor.xml says (QEMU's docs/interop/prl-xml.txt): which files hold which
/// sectors of the disk, in which of its states.
struct ParallelsDescriptor {
  enum ImageType: String {
    case plain = "Plain"
    case expanding = "Compressed"
  }

  struct Image {
    let guid: String
    let type: ImageType
    /// As it stands there.
    let file: String
  }

  /// A run of the disk's sectors, with the images that hold it in one state each.
  struct Part {
    let sectors: Range<UInt64>
    let images: [Image]
  }

  /// The file name that every bundle's descriptor has.
  static let fileName = "DiskDescriptor.xml"
  static let largest: UInt64 = 1 << 20
  static let mostImages = 1000
  /// As many states as a chain of images may have images.
  static let mostStates = ImageChain.deepest
  /// The states without a parent have this one.
  private static let noGUID = "{00000000-0000-0000-0000-000000000000}"
  /// "The predefined GUID" of the state that a machine writes to.
  private static let usualTop = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"

  /// In order, one behind the other from sector 0 on; at least one.
  private(set) var parts: [Part] = []
  /// The GUIDs of the disk's present state and the ones below it, top first; at least one.
  private(set) var states: [String] = []
  /// In sectors of 512 bytes, by its own field; nil where that is missing.
  private(set) var diskSize: UInt64?
  private let path: String

  /// - Throws: `malformed` where it contradicts itself; `unsupported` for encrypted and padded disks.
  init(_ source: any Storage) throws(DiskError) {
    path = source.path
    let root = try SmallXML.document(in: source, limits: .init(bytes: Self.largest))
    guard root.name == "Parallels_disk_image" else {
      throw failure("the XML is of '\(printable(root.name))', not of a Parallels disk")
    }
    if let parameters = root.child("Disk_Parameters") { try read(parameters: parameters) }
    for storage in root.child("StorageData")?.children("Storage") ?? [] {
      parts.append(try part(storage))
    }
    parts.sort { $0.sectors.lowerBound < $1.sectors.lowerBound }
    var end: UInt64 = 0
    for part in parts {
      guard part.sectors.lowerBound == end else {
        throw failure(
          "a part of the disk starts at sector \(part.sectors.lowerBound), where the one before it "
            + "ends at \(end)")
      }
      end = part.sectors.upperBound
    }
    guard !parts.isEmpty else { throw failure("names no storage") }
    guard parts.reduce(0, { $0 + $1.images.count }) <= Self.mostImages else {
      throw failure("names more than \(Self.mostImages) images")
    }
    states = try states(root.child("Snapshots"))
  }

  /// The image that holds `part` in the state `guid`.
  func image(of part: Part, in guid: String) throws(DiskError) -> Image {
    guard let image = part.images.first(where: { $0.guid == guid }) else {
      throw failure(
        "names no image of the state \(printable(guid)) for the part from sector "
          + "\(part.sectors.lowerBound) on")
    }
    return image
  }

  private mutating func read(parameters: SmallXML.Element) throws(DiskError) {
    if let size = parameters.child("Disk_size") { diskSize = try number(size) }
    if let padding = parameters.child("Padding"), try number(padding) != 0 {
      throw failure("has padded tracks, which no specification describes", .unsupported)
    }
    if let engine = parameters.child("Encryption")?.child("Engine")?.text.lowercased(),
      !engine.isEmpty, engine != Self.noGUID
    {
      throw failure("is encrypted", .unsupported)
    }
  }

  private func part(_ storage: SmallXML.Element) throws(DiskError) -> Part {
    guard let start = storage.child("Start"), let end = storage.child("End") else {
      throw failure("has a storage without Start or End")
    }
    let (first, last) = (try number(start), try number(end))
    guard first < last, last <= Limits.largestDisk / 512 else {
      throw failure("has a storage from sector \(first) to \(last)")
    }
    var images: [Image] = []
    for image in storage.children("Image") {
      guard let guid = image.child("GUID")?.text, let file = image.child("File")?.text,
        let typeName = image.child("Type")?.text
      else { throw failure("has an image without GUID, Type or File") }
      guard let type = ImageType(rawValue: typeName) else {
        throw failure(
          "has an image of type '\(printable(typeName))', which is neither Plain nor Compressed",
          .unsupported)
      }
      images.append(Image(guid: guid.lowercased(), type: type, file: file))
    }
    return Part(sectors: first..<last, images: images)
  }

  /// From the top state down to the one without a parent.
  private func states(_ snapshots: SmallXML.Element?) throws(DiskError) -> [String] {
    var parents: [String: String] = [:]
    for shot in snapshots?.children("Shot") ?? [] {
      guard let guid = shot.child("GUID")?.text.lowercased(),
        let parent = shot.child("ParentGUID")?.text.lowercased()
      else { throw failure("has a snapshot without GUID or ParentGUID") }
      guard parents.updateValue(parent, forKey: guid) == nil else {
        throw failure("has two snapshots of the GUID \(printable(guid))")
      }
    }
    let top = try top(snapshots?.child("TopGUID")?.text.lowercased(), parents)
    var states = [top]
    var state = top
    while let parent = parents[state], parent != Self.noGUID {
      guard !states.contains(parent), states.count < Self.mostStates else {
        throw failure(
          "has a chain of snapshots that never ends, or of more than \(Self.mostStates)")
      }
      guard parents[parent] != nil else {
        throw failure("does not say what the snapshot \(printable(parent)) is")
      }
      states.append(parent)
      state = parent
    }
    return states
  }

  private func top(_ named: String?, _ parents: [String: String]) throws(DiskError) -> String {
    if let named, !named.isEmpty {
      guard parents.isEmpty || parents[named] != nil else {
        throw failure("does not say what its top snapshot \(printable(named)) is")
      }
      return named
    }
    if parents[Self.usualTop] != nil { return Self.usualTop }
    // Disks from before snapshots, and those without any.
    let images = parts[0].images
    if parents.isEmpty, images.count == 1 { return images[0].guid }
    throw failure("does not say which of its snapshots is the top one")
  }

  private func number(_ element: SmallXML.Element) throws(DiskError) -> UInt64 {
    guard let value = UInt64(element.text) else {
      throw failure("has '\(printable(element.text))' as \(printable(element.name))")
    }
    return value
  }

  private func failure(_ message: String, _ kind: DiskError.Kind = .malformed) -> DiskError {
    DiskError(kind, "the disk descriptor " + message, path: path)
  }
}
