internal import DiskCore

/// An image and the ones below it that it was made on, found and checked.
struct ImageChain {
  /// How many images may stand on each other.
  static let deepest = 64

  /// One image of the chain.
  struct Level {
    let path: String
    let image: ParsedImage
    /// How its format was found, where that is worth saying.
    let remark: String?
  }

  /// Top first, at least one.
  private(set) var levels: [Level] = []
  /// What to know before trusting it.
  private(set) var notes: [String] = []
  private var seen: Set<FileIdentity> = []

  var layers: [any ImageLayer] { levels.flatMap(\.image.layers) }

  /// Opens the image at `path` and everything that it stands on.
  ///
  /// - Throws: what opening one of them throws; `notFound` for a missing parent, naming where it was
  ///   looked for and what would fit; `malformed` for a chain that comes back to itself or is deeper
  ///   than `deepest`; `invalidRequest` for more parents given than there are.
  init(path: String, options: ImageOptions) throws(DiskError) {
    var files = try NamedFiles(image: path, allowed: options.allowedPaths)
    var given = options.parents[...]
    let top = try typed(path, format: options.format)
    try add(try top.parsed(files))
    if let warning = top.warning { notes.append(warning) }
    notes += levels[0].image.layers.flatMap(\.description.notes)
    while let child = levels.last, let reference = child.image.parent {
      guard levels.count < Self.deepest else {
        throw DiskError(
          .malformed, "the chain of images is longer than \(Self.deepest)", path: child.path)
      }
      if let path = given.popFirst() {
        files = try NamedFiles(image: path, allowed: options.allowedPaths)
        // Where nothing names the parent, its format is only that of those that are looked at.
        let hint = reference.isByIdentityOnly ? nil : reference.format
        let source = try typed(path, format: nil, hint: hint)
        try check(source.storage, against: child)
        let level = try source.parsed(files)
        if let doubt = reference.doubt(level.image) {
          notes.append("\(printable(path)), given as the parent, \(doubt)")
        }
        try add(level)
      } else {
        try add(try parent(reference, of: child, files))
      }
      note(of: levels[levels.count - 1])
    }
    if let extra = given.first {
      throw DiskError(
        .invalidRequest, "has no parent that '\(printable(extra))' could be",
        path: levels[levels.count - 1].path)
    }
  }

  private mutating func add(_ level: Level) throws(DiskError) {
    for layer in level.image.layers where layer.size == 0 {
      throw DiskError(.malformed, "holds a virtual disk of 0 bytes", path: level.path)
    }
    levels.append(level)
  }

  private mutating func note(of level: Level) {
    let name = printable(PathParts(level.path).name)
    notes += ([level.remark].compactMap(\.self) + level.image.layers.flatMap(\.description.notes))
      .map { "\(name): \($0)" }
  }

  /// An image that the user named.
  private mutating func typed(
    _ path: String, format: String?, hint: String? = nil
  ) throws(DiskError) -> ImageSource {
    let source = try ImageSource(path: path, format: format ?? hint)
    seen.formUnion(source.storage.parts.compactMap(\.identity))
    return source
  }

  /// Refuses a parent that is in the chain already.
  private mutating func check(_ storage: any Storage, against child: Level) throws(DiskError) {
    for identity in storage.parts.compactMap(\.identity) {
      let isNew = seen.insert(identity).inserted
      if !isNew, levels.contains(where: { $0.holds(identity) }) {
        throw DiskError(
          .malformed,
          "its parent '\(printable(storage.path))' is already in the chain: the chain never ends",
          path: child.path)
      }
    }
  }

  /// The first of the places that `reference` names where the right image is.
  private mutating func parent(
    _ reference: ParentReference, of child: Level, _ files: NamedFiles
  ) throws(DiskError) -> Level {
    if let obstacle = reference.obstacle {
      throw DiskError(
        .permissionDenied, obstacle + "; '--parent FILE' gives one", path: child.path)
    }
    if reference.isByIdentityOnly { return try neighbour(reference, of: child, files) }
    var refusal: DiskError? = nil
    for path in reference.paths {
      let storage: FileStorage
      do throws(DiskError) {
        storage = try files.open(
          path, namedBy: child.path, as: "parent", ignoringCase: reference.ignoresCase)
      } catch {
        if error.kind != .notFound { refusal = refusal ?? error }
        continue
      }
      try check(storage, against: child)
      let level = try ImageSource(named: storage, format: reference.format).parsed(files)
      guard let doubt = reference.refusal(level.image) else { return accepted(level, reference) }
      refusal = refusal ?? Self.refusal(storage.path, doubt, child)
    }
    throw refusal ?? MissingParent(reference, of: child.path, files).error()
  }

  /// The first of the images around `child` that is the one it was made on.
  private mutating func neighbour(
    _ reference: ParentReference, of child: Level, _ files: NamedFiles
  ) throws(DiskError) -> Level {
    var refusal: DiskError? = nil
    for neighbour in NeighbouringImages(reference, of: child.path, files).resembling {
      guard let doubt = reference.refusal(neighbour.level.image) else {
        try check(neighbour.storage, against: child)
        return accepted(neighbour.level, reference)
      }
      refusal = refusal ?? Self.refusal(neighbour.path, doubt, child)
    }
    throw refusal ?? MissingParent(reference, of: child.path, files).error()
  }

  private mutating func accepted(_ level: Level, _ reference: ParentReference) -> Level {
    if let doubt = reference.doubt(level.image) {
      notes.append("\(printable(PathParts(level.path).name)) \(doubt)")
    }
    return level
  }

  private static func refusal(_ path: String, _ doubt: String, _ child: Level) -> DiskError {
    DiskError(
      .invalidRequest,
      "its parent '\(printable(path))' \(doubt); '--parent \(printable(path))' reads it all the same",
      path: child.path)
  }
}

extension ImageChain.Level {
  fileprivate func holds(_ identity: FileIdentity) -> Bool {
    image.layers.contains { $0.files.contains { $0.identity == identity } }
  }
}

extension ParentReference {
  /// Why `image` cannot be the parent; nil where it can.
  func refusal(_ image: ParsedImage) -> String? {
    expectations.lazy.filter(\.isStrict).compactMap { $0.difference(from: image) }.first
  }

  /// What speaks against `image` being the parent as it was when the child was made.
  func doubt(_ image: ParsedImage) -> String? {
    expectations.lazy.compactMap { $0.difference(from: image) }.first
  }
}

extension ParentReference.Expectation {
  fileprivate func difference(from image: ParsedImage) -> String? {
    let found = what == Self.sizeInBytes ? ["\(image.layers[0].size)"] : image.identity[what] ?? []
    guard Set(found).isDisjoint(with: accepted) else { return nil }
    let named = found.first.map { "the \(what) \(printable($0))" } ?? "no \(what)"
    return "is not the one that the child was made on, or has changed since: it has \(named), not "
      + printable(accepted.first ?? "")
  }
}
