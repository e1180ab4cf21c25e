internal import DiskCore

/// A sparse extent that somebody names in place of the descriptor that it belongs to.
enum VMDKLoneExtent {
  /// How many files beside it are looked into for its descriptor.
  private static let mostLookedAt = 8

  /// - Throws: `invalidRequest` where a descriptor beside it names it, naming that; what opening it
  ///   throws.
  static func parsed(
    _ source: any Storage, _ files: NamedFiles
  ) throws(DiskError) -> ParsedImage {
    let file = try VMDKSparseFile(source, hasParent: false)
    if let path = descriptor(of: source, files) {
      throw DiskError(
        .invalidRequest, "is one part of a disk; open its descriptor, '\(printable(path))'",
        path: source.path)
    }
    var notes = [
      "has no descriptor: if it is one of several extents, this is only a part of the disk, and if "
        + "it was made on a parent, what it does not have reads as zeros"
    ]
    if file.isUnclean {
      notes.append("was not closed cleanly: what was written last may be missing")
    }
    let description = LayerDescription(
      format: "vmdk", subformat: file.subformat,
      details: [("grain size", "\(file.grainBytes)")], notes: notes + file.notes)
    let row = try LayerRow([(file.layer, file.layer.size)], description: description)
    return ParsedImage(VMDKImage(source, row, description: description))
  }

  /// The file beside it that names it as an extent. VMware calls the extents of `disk.vmdk`
  /// `disk-s001.vmdk`, `disk-delta.vmdk`, `disk-sesparse.vmdk`: their names start alike.
  private static func descriptor(of source: any Storage, _ files: NamedFiles) -> String? {
    let own = PathParts(source.path)
    let ownName = own.name.lowercased()
    let names = FolderListing.names(in: own.folder)
      .filter { name in
        let name = name.lowercased()
        return name.hasSuffix(".vmdk") && ownName.hasPrefix(name.dropLast(5) + "-")
      }
      .sorted { ($0.utf8.count, $0) > ($1.utf8.count, $1) }
    for name in names.prefix(mostLookedAt) {
      guard let storage = try? files.open(name, namedBy: source.path, as: "descriptor"),
        let descriptor = try? VMDKFormat.descriptor(in: storage)
      else { continue }
      let isNamed = descriptor.extents.contains { extent in
        let end = extent.name.utf8.lastIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }
        let name = end.map { extent.name[extent.name.utf8.index(after: $0)...] } ?? extent.name[...]
        return name.lowercased() == ownName
      }
      if isNamed { return storage.path }
    }
    return nil
  }
}
