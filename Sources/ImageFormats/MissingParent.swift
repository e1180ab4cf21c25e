internal import DiskCore

/// A parent that is not where its child says: what to tell the person who has to find it.
struct MissingParent {
  /// How many of those that fit are named.
  private static let mostNamed = 3

  private let reference: ParentReference
  private let chain: [ImageChain.Level]
  private let files: NamedFiles
  private let options: ImageOptions
  private let child: String

  /// - Parameter chain: what was found so far, at least one; the last one's parent is missing.
  init(
    _ reference: ParentReference, of chain: [ImageChain.Level], _ files: NamedFiles,
    _ options: ImageOptions
  ) {
    self.reference = reference
    self.chain = chain
    self.files = files
    self.options = options
    child = chain[chain.count - 1].path
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
        + "--parent FILE names it, --allow-path DIR looks there too"
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
        + command(naming: first)
    } else {
      message += "; nothing beside it fits; --parent FILE names it"
    }
    return DiskError(.notFound, message, path: child)
  }

  /// What the user typed, and `parent`. An image further down can only be named together with those
  /// above it.
  private func command(naming parent: String) -> String {
    var words = ["platter", "info"]
    if let format = options.format { words += ["--format", format] }
    for folder in options.allowedPaths { words += ["--allow-path", folder] }
    for path in chain.dropFirst().map(\.path) + [parent] { words += ["--parent", path] }
    let top = chain[0].path
    words.append(top.utf8.first == UInt8(ascii: "-") ? "./\(top)" : top)
    return words.map(shellWord).joined(separator: " ")
  }

  /// Files around the child that can be the parent: by what the child knows of it, or where it knows
  /// nothing, by name.
  private var candidates: [String] {
    var result: [String] = []
    if reference.expectations.contains(where: \.isStrict) {
      return Array(
        NeighbouringImages(reference, of: child, files).resembling.lazy
          .filter { neighbour in
            reference.refusal(neighbour.level.image) == nil
              && !chain.contains { $0.holds(neighbour.storage) }
          }.map(\.path).prefix(Self.mostNamed))
    }
    for folder in files.startingFolders(of: child) {
      for name in FolderListing.names(in: folder).sorted().filter(hasItsName)
      where result.count < Self.mostNamed {
        if let path = candidate(name, in: folder), !result.contains(path) { result.append(path) }
      }
    }
    return result
  }

  /// The path of the file `name` where it can be opened as the parent.
  private func candidate(_ name: String, in folder: String) -> String? {
    guard let storage = try? files.open(name, namedBy: child, as: "parent"),
      storage.path == PathParts.join(folder, name), !chain.contains(where: { $0.holds(storage) }),
      let source = try? ImageSource(named: storage, format: reference.format),
      let level = try? source.parsed(files)
    else { return nil }
    return reference.refusal(level.image) == nil ? storage.path : nil
  }

  /// The same name in other letters, or with another suffix.
  private func hasItsName(_ name: String) -> Bool {
    let stem = stem(name)
    return !stem.isEmpty && reference.paths.contains { self.stem(PathParts($0).name) == stem }
  }

  private func stem(_ name: String) -> String {
    let name = name.lowercased()
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return name }
    return String(name[..<dot])
  }
}
