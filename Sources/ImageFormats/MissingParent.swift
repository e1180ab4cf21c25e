internal import DiskCore

/// A parent that is not where its child says: what to tell the person who has to find it.
struct MissingParent {
  /// How many of those that fit are named.
  private static let mostNamed = 3

  private let reference: ParentReference
  private let child: String
  private let files: NamedFiles

  init(_ reference: ParentReference, of child: String, _ files: NamedFiles) {
    self.reference = reference
    self.child = child
    self.files = files
  }

  /// Names the path looked for, what would fit, and the command that says so.
  func error() -> DiskError {
    var places: [String] = []
    for path in reference.paths { places += files.paths(of: path, namedBy: child) }
    var message = "its parent '\(printable(reference.name))' was not found"
    if reference.isByIdentityOnly {
      // Looked for among the same files already: they need not be opened again.
      let folders = NeighbouringImages(reference, of: child, files).folders
      message +=
        " among the files in \(folders.prefix(4).map { printable($0) }.joined(separator: ", ")); "
        + "'--parent FILE' names it, '--allow-path DIR' looks there too"
      return DiskError(.notFound, message, path: child)
    }
    if !places.isEmpty {
      message += "; looked for " + places.prefix(4).map { printable($0) }.joined(separator: ", ")
    }
    let candidates = self.candidates
    if let first = candidates.first {
      let verb = candidates.count == 1 ? "fits" : "fit"
      message +=
        "; beside it \(candidates.map { printable($0) }.joined(separator: ", ")) \(verb): "
        + "'platter info --parent \(quoted(first)) \(quoted(child))'"
    } else {
      message += "; nothing beside it fits; '--parent FILE' names it"
    }
    return DiskError(.notFound, message, path: child)
  }

  /// Files around the child that can be the parent: by what the child knows of it, or where it knows
  /// nothing, by name.
  private var candidates: [String] {
    if reference.expectations.contains(where: \.isStrict) {
      return Array(
        NeighbouringImages(reference, of: child, files).resembling.lazy
          .filter { reference.refusal($0.level.image) == nil }.map(\.path).prefix(Self.mostNamed))
    }
    let folder = PathParts(child).folder
    let paths = FolderListing.names(in: folder).sorted().map { PathParts.join(folder, $0) }
      .filter { $0 != child }
    return Array(paths.lazy.filter(hasItsName).prefix(Self.mostNamed))
  }

  /// The same name in other letters, or with another suffix.
  private func hasItsName(_ path: String) -> Bool {
    let wanted = Set(
      reference.paths.map { stem(PathParts($0).name) }.filter { !$0.isEmpty })
    return wanted.contains(stem(PathParts(path).name))
  }

  private func stem(_ name: String) -> String {
    let name = name.lowercased()
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return name }
    return String(name[..<dot])
  }

  /// As a shell takes it.
  private func quoted(_ path: String) -> String {
    let isPlain = path.utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
        || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        || "/._-+=:,@".utf8.contains(byte)
    }
    return isPlain ? path : "\"\(printable(path))\""
  }
}
