internal import DiskCore

/// ISO 9660 (ECMA-119) with Rock Ridge, Joliet or its own names.
///
/// An item's number is where its directory record is; a folder's is where its extent starts with the
/// record of itself, whatever leads there. So a folder that contains one of its ancestors contains an
/// item with the ancestor's number, by which `find` and `cp` know that they would go in circles.
final class ISOFileSystem: FileSystem {
  /// Put before numbers that items share, so that they are none of an item's own.
  private enum Serial {
    static let byExtent: UInt64 = 1 << 45
    static let byNumber: UInt64 = 1 << 46
  }

  let type = "iso9660"
  let root: ItemID
  let notes: [String]
  private let volume: ISOVolume
  private let names: ISONames
  private let boot: ISOBootFolder?
  /// Nil for a disc without extended attributes.
  private let folderRecords: ISOFolderRecords?

  /// - Returns: nil where there is no primary volume descriptor.
  init?(_ volume: Volume) throws(DiskError) {
    guard let descriptors = try ISOSessions.last(volume) else { return nil }
    let blocks = ISOVolume(volume, blockSize: descriptors.blockSize)
    let chosen = try ISONameSpaces(descriptors, blocks).best(volume.options.isoNames)
    self.volume = blocks
    names = chosen.names
    root = ItemID(chosen.root)
    folderRecords = ISOFolderRecords(root: chosen.root, chosen.names, blocks)
    var notes = descriptors.notes + ["names: \(chosen.names.description)"]
    if descriptors.session > 0 {
      notes.append("the last session is shown, which starts at sector \(descriptors.session)")
    }
    boot = try descriptors.bootCatalogue.flatMap { (sector) throws(DiskError) in
      do throws(DiskError) {
        return ISOBootFolder(try ElTorito.images(catalogueAt: sector, blocks), volume)
      } catch {
        notes.append("boot images are not shown: \(error.message)")
        return nil
      }
    }
    self.notes = notes
  }

  func attributes(of item: ItemID) throws(DiskError) -> FileAttributes {
    if let known = boot?.attributes(of: item) { return known }
    let (record, extra) = try record(of: item)
    var attributes = FileAttributes(Self.kind(record, extra))
    switch attributes.kind {
    case .file:
      let sections = try ISODirectory(volume: volume).sections(of: record)
      attributes.allocatedBytes = sections.reduce(0) { $0 + $1.length }
      attributes.size = extra?.zisofs?.size ?? extra?.sparse?.size ?? attributes.allocatedBytes
    case .folder:
      attributes.size = record.section.length
      attributes.allocatedBytes = record.section.length
    case .link:
      attributes.size = UInt64(extra?.link?.target.count ?? 0)
    default: break
    }
    attributes.modified = record.recorded
    if let extra { Self.add(extra, to: &attributes, record) }
    return attributes
  }

  private static func add(
    _ extra: RockRidgeEntry, to attributes: inout FileAttributes, _ record: ISODirectoryRecord
  ) {
    attributes.permissions = extra.mode.map { UInt16($0 & 0o7777) }
    attributes.user = extra.user
    attributes.group = extra.group
    attributes.links = max(1, extra.links ?? 1)
    attributes.modified = extra.times.modified ?? attributes.modified
    attributes.accessed = extra.times.accessed
    // Old writers have the time of the last change as that of creation.
    attributes.changed = extra.times.changed ?? extra.times.created
    attributes.created = extra.times.created
    if let device = extra.device, [.characterDevice, .blockDevice].contains(attributes.kind) {
      (attributes.major, attributes.minor) = device
    }
    guard attributes.links > 1, attributes.kind != .folder else { return }
    if let number = extra.serial, number > 0 {
      attributes.serial = Serial.byNumber | UInt64(number)
    } else if attributes.kind == .file, record.section.length > 0 {
      // Before RRIP 1.12 names of one file had only its bytes in common.
      attributes.serial = Serial.byExtent | record.section.start
    } else {
      // Nothing says which its other names are: who looks for them would look in vain.
      attributes.links = 1
    }
  }

  func forEachEntry(
    of folder: ItemID, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError) {
    if let boot, folder == ISOBootFolder.folder {
      for entry in boot.entries { guard visit(entry) else { return } }
      return
    }
    guard let boot, folder == root else { return try forEachStoredEntry(of: folder, visit) }
    var taken: Set<String> = []
    var isAtEnd = true
    var damage: DiskError? = nil
    do throws(DiskError) {
      try forEachStoredEntry(of: folder) { entry in
        let name = entry.name.text.lowercased()
        if ISOBootFolder.names.contains(name) { taken.insert(name) }
        isAtEnd = visit(entry)
        return isAtEnd
      }
    } catch {
      damage = error
    }
    if isAtEnd { _ = visit(boot.entry(taken)) }
    if let damage { throw damage }
  }

  private func forEachStoredEntry(
    of folder: ItemID, _ visit: (FolderEntry) -> Bool
  ) throws(DiskError) {
    var isPiece = false
    var mayHoldRelocated = folder == root
    try ISODirectory(volume: volume).forEachRecord(ofFolderAt: folder.number) { record in
      // One file's further sections have records of their own.
      let isOneMore = isPiece
      isPiece = record.flags.contains(.continues) && !record.isFolder
      if isOneMore || record.isSelf || record.isParent || record.flags.contains(.associated) {
        return true
      }
      guard let entry = entry(record, &mayHoldRelocated) else { return true }
      return visit(entry)
    }
  }

  /// Nil for what is shown elsewhere.
  ///
  /// - Parameter mayHoldRelocated: whether it can be the folder of those that were too deep. Only one is
  ///   asked: all that are called so could hold the same million records.
  private func entry(
    _ record: ISODirectoryRecord, _ mayHoldRelocated: inout Bool
  ) -> FolderEntry? {
    guard case .rockRidge(let area) = names else {
      return FolderEntry(names.name(of: record), item(record), Self.kind(record, nil))
    }
    let extra = RockRidgeEntry.listed(record, area)
    if extra.isRelocated { return nil }
    let name = extra.name.isEmpty ? names.name(of: record) : FileName(extra.name)
    if let block = extra.childBlock, !record.isFolder {
      return FolderEntry(name, ItemID(volume.position(ofBlock: block)), .folder)
    }
    if mayHoldRelocated, record.isFolder, Self.relocated.contains(name.text.lowercased()) {
      mayHoldRelocated = false
      if holdsOnlyRelocated(record, area) { return nil }
    }
    return FolderEntry(name, item(record), Self.kind(record, extra))
  }

  /// What mkisofs and libisofs call the folder that they make for folders that are too deep.
  private static let relocated = ["rr_moved", ".rr_moved"]

  private func holdsOnlyRelocated(_ record: ISODirectoryRecord, _ area: SystemUseArea) -> Bool {
    var holdsOthers = false
    do throws(DiskError) {
      try ISODirectory(volume: volume).forEachRecord(ofFolderAt: item(record).number) { record in
        if record.isSelf || record.isParent { return true }
        holdsOthers = !RockRidgeEntry.listed(record, area, mayBeRelocated: true).isRelocated
        return !holdsOthers
      }
    } catch {
      return false
    }
    return !holdsOthers
  }

  func target(of link: ItemID) throws(DiskError) -> FileName {
    let (record, extra) = try record(of: link)
    guard let target = extra?.link?.target, !target.isEmpty else {
      throw volume.failure(.malformed, "a symbolic link that leads nowhere", record.position)
    }
    return FileName(target)
  }

  func content(of file: ItemID) throws(DiskError) -> any FileContent {
    if let known = boot?.content(of: file) { return known }
    let (record, extra) = try record(of: file)
    guard Self.kind(record, extra) == .file else {
      throw volume.failure(.invalidRequest, "this is no file", record.position)
    }
    let sections = try ISODirectory(volume: volume).sections(of: record)
    let stored = ISOContent(sections, volume.volume)
    if let sparse = extra?.sparse { return try SparseContent(stored, sparse, volume.volume) }
    guard let zisofs = extra?.zisofs else { return stored }
    return try ZisofsContent(stored, zisofs, volume.volume)
  }

  var attributeNameSpaces: [String] {
    if case .rockRidge = names { ["user."] } else { [] }
  }

  func extendedAttributes(of item: ItemID) throws(DiskError) -> [ExtendedAttribute] {
    guard case .rockRidge(let area) = names, boot?.attributes(of: item) == nil else { return [] }
    let record = try ISODirectoryRecord(at: item.number, volume)
    let own = try ArbitraryAttributes.user(of: record, area, isRoot: item == root)
    guard own.isEmpty, record.isSelf, item != root,
      let named = try folderRecords?.record(ofFolder: record)
    else { return own }
    return try ArbitraryAttributes.user(of: named, area, isRoot: false)
  }

  private func record(
    of item: ItemID
  ) throws(DiskError) -> (ISODirectoryRecord, RockRidgeEntry?) {
    let record = try ISODirectoryRecord(at: item.number, volume)
    guard case .rockRidge(let area) = names else { return (record, nil) }
    return (record, try RockRidgeEntry.all(of: record, area, isRoot: item == root))
  }

  private func item(_ record: ISODirectoryRecord) -> ItemID {
    ItemID(record.isFolder ? record.section.start : record.position)
  }

  private static func kind(_ record: ISODirectoryRecord, _ extra: RockRidgeEntry?) -> FileKind {
    if record.isFolder { return .folder }
    guard let extra else { return .file }
    let kind = extra.mode.flatMap { FileKind(mode: $0) } ?? (extra.link == nil ? .file : .link)
    // Only the record itself can make it one.
    return kind == .folder ? .file : kind
  }
}
