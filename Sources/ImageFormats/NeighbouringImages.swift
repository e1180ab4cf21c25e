internal import DiskCore

/// The images around a child, among which its parent is looked for by what the child knows of it:
/// where nothing says at which path it is, or where it is not there.
///
/// These are the files in the child's own folder and in the folders that the user allows. Each is
/// opened as any parent is, which reads headers and checks where it really is.
struct NeighbouringImages {
  /// How many files of a folder are looked into.
  private static let mostLookedAt = 64

  struct Neighbour {
    let path: String
    let storage: FileStorage
    let level: ImageChain.Level
  }

  private let reference: ParentReference
  private let child: String
  private let files: NamedFiles

  init(_ reference: ParentReference, of child: String, _ files: NamedFiles) {
    self.reference = reference
    self.child = child
    self.files = files
  }

  /// Where is looked, for messages.
  var folders: [String] { files.folders(of: child) }

  /// Those that meet at least the first thing that the parent must be, the likeliest first.
  var resembling: some Sequence<Neighbour> {
    folders.lazy.flatMap { folder in
      likely(in: folder).lazy.compactMap { neighbour($0, in: folder) }
    }
  }

  /// The names in `folder`: those that hold something of the parent's identity first (VirtualBox names
  /// snapshots by their UUID), then those with the child's suffix.
  private func likely(in folder: String) -> [String] {
    let known = reference.expectations.filter(\.isStrict).flatMap(\.accepted).map {
      $0.lowercased()
    }
    let suffix = PathParts(child).name.split(separator: ".").last.map { "." + $0.lowercased() }
    func rank(_ name: String) -> Int {
      let name = name.lowercased()
      if known.contains(where: { name.contains($0) }) { return 0 }
      return suffix.map { name.hasSuffix($0) } == true ? 1 : 2
    }
    let own = PathParts(child).name
    let names = FolderListing.names(in: folder).filter {
      folder != PathParts(child).folder || $0 != own
    }
    return names.map { (rank: rank($0), name: $0) }.sorted { $0 < $1 }.prefix(Self.mostLookedAt)
      .map(\.name)
  }

  private func neighbour(_ name: String, in folder: String) -> Neighbour? {
    let path = PathParts.join(folder, name)
    // A name is looked for from the child's folder on.
    let isBeside = folder == PathParts(child).folder
    guard
      let storage = try? files.open(isBeside ? name : path, namedBy: child, as: "parent"),
      let source = try? ImageSource(named: storage, format: reference.format),
      let level = try? source.parsed(files), reference.resembles(level.image)
    else { return nil }
    return Neighbour(path: path, storage: storage, level: level)
  }
}

extension ParentReference {
  /// Whether nothing but what the parent is leads to it.
  var isByIdentityOnly: Bool { paths.isEmpty && expectations.contains(where: \.isStrict) }

  /// Whether `image` meets the first thing that the parent must be.
  fileprivate func resembles(_ image: ParsedImage) -> Bool {
    guard let first = expectations.first(where: \.isStrict) else { return false }
    return ParentReference(name: name, paths: [], expectations: [first]).refusal(image) == nil
  }
}
