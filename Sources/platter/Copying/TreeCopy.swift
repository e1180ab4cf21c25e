internal import DiskCore
internal import FileSystems

/// Copies an item of an image, and all that is in it, into a folder of this machine.
///
/// Every name is made in a folder that is held open and never through a link, so that a link in the
/// image cannot lead a copy out of its destination. What fails is told and the rest goes on.
///
/// One thread walks the image's folders and makes them; files are copied by others beside it.
struct TreeCopy {
  private let files: FileTree
  private let item: ItemID
  private let report: CopyReport
  private let workers: Workers?
  private let scratches = CopyScratches()
  private var walk = FolderWalk()
  /// The first copy of each item with several names.
  private var copied: [UInt64: CopiedFile] = [:]

  init(_ files: FileTree, _ item: ItemID, title: String) {
    self.files = files
    self.item = item
    // Only for who sees it: it is a walk over everything.
    var sizes = FolderWalk()
    report = CopyReport(
      of: Terminal.errorsAreSeen ? Self.size(of: item, in: files, &sizes) : 0, title)
    // Where a decoder has to go its way from file to file, two would go it twice.
    workers = files.volume.window.disk.canBeFar ? nil : Workers()
  }

  /// - Returns: how much failed.
  mutating func run(to place: CopyPlace) -> Int {
    var batch = FileCopies(into: place.folder, of: files, scratches, report)
    copy(item, to: place.name, &batch)
    finish(&batch)
    workers?.wait()
    report.end()
    return report.failures
  }

  /// In bytes, of all files; what cannot be read is told when it is copied.
  private static func size(
    of item: ItemID, in files: FileTree, _ walk: inout FolderWalk
  ) -> UInt64 {
    guard let attributes = try? files.attributes(of: item) else { return 0 }
    guard attributes.kind == .folder else {
      return attributes.kind == .file ? attributes.size : 0
    }
    guard (try? walk.enter(item, "")) != nil else { return 0 }
    defer { walk.leave() }
    guard let content = try? files.folder(item) else { return 0 }
    return content.entries.reduce(0) { $0 &+ size(of: $1.item, in: files, &walk) }
  }

  private mutating func copy(_ item: ItemID, to target: HostName, _ batch: inout FileCopies) {
    do throws(DiskError) {
      let attributes = try files.attributes(of: item)
      switch attributes.kind {
      case .folder:
        try copyFolder(item, attributes, to: target, in: batch.folder)
      case .file where attributes.links > 1:
        try copyLinked(item, attributes, to: target)
      case .file:
        batch.add(item, attributes, as: target)
        if batch.isFull { finish(&batch) }
      case .link:
        try target.makeLink(to: try files.target(of: item))
        try target.set(attributes)
      case .characterDevice, .blockDevice, .pipe, .socket:
        try target.makeSpecial(attributes)
        try target.set(attributes)
      }
    } catch {
      report.tell(error)
    }
  }

  /// At once, so that the next name of it finds the copy.
  private mutating func copyLinked(
    _ item: ItemID, _ attributes: FileAttributes, to target: HostName
  ) throws(DiskError) {
    let serial = attributes.serial ?? item.number
    if let first = copied[serial], target.link(to: first) { return }
    var scratch = scratches.take()
    defer { scratches.putBack(scratch) }
    let identity = try FileCopies.copy(item, attributes, of: files, to: target, report, &scratch)
    copied[serial] = identity.map { CopiedFile(place: target.place, identity: $0) }
  }

  private mutating func copyFolder(
    _ item: ItemID, _ attributes: FileAttributes, to target: HostName, in parent: CopyFolder
  ) throws(DiskError) {
    try walk.enter(item, target.path)
    defer { walk.leave() }
    let folder = try CopyFolder(target, in: parent, attributes)
    var batch = FileCopies(into: folder, of: files, scratches, report)
    do throws(DiskError) {
      let content = try files.folder(item)
      for entry in content.entries {
        copy(entry.item, to: HostName(entry.name.bytes, in: folder), &batch)
      }
      if let damage = content.damage { throw damage }
    } catch {
      report.tell(error)
    }
    finish(&batch)
    try folder.leave()
  }

  /// Has a batch copied, and begins a new one.
  private func finish(_ batch: inout FileCopies) {
    guard !batch.isEmpty else { return }
    let full = batch
    batch.removeAll()
    guard let workers else { return full.run() }
    full.folder.enter()
    workers.add { [report] in
      full.run()
      do throws(DiskError) { try full.folder.leave() } catch { report.tell(error) }
    }
  }
}
