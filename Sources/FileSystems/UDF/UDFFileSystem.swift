internal import DiskCore

/// UDF 1.02 to 2.60 (ECMA-167, 3rd edition, and OSTA UDF).
///
/// An item's number is the address of its ICB, which all names of one file share. The unique numbers that
/// files have besides are not used: there are discs where all are 0.
final class UDFFileSystem: FileSystem {
  let type = "udf"
  let root: ItemID
  private let space: UDFSpace
  private let control: UDFInformationControl

  var notes: [String] { space.volume.notes.all }

  /// - Returns: nil where there is no UDF, and where ISO 9660 names are asked for on a disc that has both.
  init?(_ volume: Volume) throws(DiskError) {
    let recognition = UDFRecognition(volume)
    guard recognition.isUDF else { return nil }
    if volume.options.isoNames != nil, recognition.isISO9660 { return nil }
    guard let (logical, root) = try Self.open(volume) else { return nil }
    self.root = root.item
    space = logical.space
    control = UDFInformationControl(space: space)
    if let revision = logical.revision { space.volume.notes.add("UDF \(revision)") }
  }

  /// Takes the first way in that leads to a logical volume.
  ///
  /// - Returns: nil where there is no way in: no anchor.
  /// - Throws: what is wrong there; without one, what the likeliest way failed with.
  private static func open(
    _ volume: Volume
  ) throws(DiskError) -> (UDFLogicalVolume, root: UDFAddress)? {
    var failure: DiskError? = nil
    var tried: Set<UDFAnchor.Sequences> = []
    for place in UDFAnchor.places(in: volume) {
      guard let anchor = UDFAnchor(volume, place), tried.insert(anchor.sequences).inserted else {
        continue
      }
      do throws(DiskError) {
        return try open(anchor, UDFVolume(volume, sectorSize: anchor.sectorSize))
      } catch {
        failure = failure ?? error
      }
    }
    if let failure { throw failure }
    return nil
  }

  private static func open(
    _ anchor: UDFAnchor, _ volume: UDFVolume
  ) throws(DiskError) -> (UDFLogicalVolume, root: UDFAddress) {
    let logical = try UDFLogicalVolume(try descriptors(anchor, volume), volume)
    let root = try UDFFileSet.root(logical.fileSet, logical.space)
    let entry = try UDFInformationControl(space: logical.space).entry(at: root)
    guard entry.kind == .folder else {
      throw volume.failure(.malformed, "the root folder is none", entry.position)
    }
    return (logical, root)
  }

  /// Those of the main sequence, or of the reserve where that is better.
  private static func descriptors(
    _ anchor: UDFAnchor, _ volume: UDFVolume
  ) throws(DiskError) -> UDFDescriptorSequence {
    let main = UDFDescriptorSequence(anchor.main, volume)
    if main.isUsable, main.isWhole { return main }
    let reserve = UDFDescriptorSequence(anchor.reserve, volume)
    if reserve.isUsable, reserve.isWhole || !main.isUsable {
      volume.notes.add("the main volume descriptors are damaged; the reserve ones are read")
      return reserve
    }
    guard main.isUsable else {
      throw volume.failure(
        .malformed, "neither volume descriptor sequence has a logical volume and its partitions",
        anchor.position)
    }
    return main
  }

  func attributes(of item: ItemID) throws(DiskError) -> FileAttributes {
    let entry = try control.entry(at: UDFAddress(item))
    var attributes = try entry.attributes(space)
    switch attributes.kind {
    case .link:
      let content = try UDFContent(entry, space)
      attributes.size = UInt64(try UDFLink.target(content, space.volume).bytes.count)
    case .characterDevice, .blockDevice:
      if let device = try UDFDeviceNumber.of(entry) {
        (attributes.major, attributes.minor) = device
      }
    default: break
    }
    return attributes
  }

  func forEachEntry(
    of folder: ItemID, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError) {
    let entry = try control.entry(at: UDFAddress(folder))
    guard entry.kind == .folder else {
      throw space.volume.failure(.invalidRequest, "this is no folder", entry.position)
    }
    var count = 0
    do throws(DiskError) {
      try forEachEntry(of: entry, in: space) { found in
        count += 1
        return visit(found)
      }
    } catch {
      guard let mirrored = space.mirrored else { throw error }
      // What comes before the damage was visited.
      var known = count
      try forEachEntry(of: entry, in: mirrored) { found in
        known -= 1
        return known >= 0 || visit(found)
      }
      space.volume.notes.add("the metadata is damaged, and its mirror is read", as: .mirror)
    }
  }

  private func forEachEntry(
    of folder: UDFFileEntry, in space: UDFSpace, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError) {
    var directory = UDFDirectory(try UDFContent(folder, space), space)
    try directory.forEachEntry { found in
      // What cannot be read is still what its name says.
      let kind = control.kind(at: found.address) ?? (found.isFolder ? .folder : .file)
      return visit(FolderEntry(found.name, found.address.item, kind))
    }
  }

  func target(of link: ItemID) throws(DiskError) -> FileName {
    let entry = try control.entry(at: UDFAddress(link))
    guard entry.kind == .link else {
      throw space.volume.failure(.invalidRequest, "this is no symbolic link", entry.position)
    }
    return try UDFLink.target(try UDFContent(entry, space), space.volume)
  }

  func content(of file: ItemID) throws(DiskError) -> any FileContent {
    let entry = try control.entry(at: UDFAddress(file))
    guard entry.kind == .file else {
      throw space.volume.failure(.invalidRequest, "this is no file", entry.position)
    }
    return try UDFContent(entry, space)
  }
}
