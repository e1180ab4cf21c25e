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
    /// What is around the image, outermost first.
    let containers: [OpenedContainer]
    /// Its own file and those that it names.
    private let files: Set<FileIdentity>

    init(
      of storage: any Storage, image: ParsedImage, remark: String?,
      _ containers: [OpenedContainer] = []
    ) {
      self.containers = containers
      path = storage.path
      self.image = image
      self.remark = remark
      let named = image.layers.lazy.flatMap(\.files).flatMap(\.parts)
      files = Set(storage.parts.compactMap(\.identity)).union(named.compactMap(\.identity))
    }

    /// What to know of it and of what is around it.
    var notes: [String] {
      containers.flatMap(\.notes) + image.layers.flatMap(\.description.notes)
    }

    func holds(_ storage: any Storage) -> Bool {
      storage.parts.contains { part in part.identity.map(files.contains) ?? false }
    }
  }

  /// Top first, at least one.
  private(set) var levels: [Level] = []
  /// What to know before trusting it.
  private(set) var notes: [String] = []
  private let unpacking: Unpacking

  var layers: [any ImageLayer] { levels.flatMap(\.image.layers) }

  /// What each of the layers is known by: the image's own path for the first layer of an image, not
  /// that of an extent or a data file; for the layers that it brings along, their files'.
  var paths: [String] {
    levels.flatMap { level in
      level.image.layers.enumerated().map { index, layer in
        index == 0 ? level.path : layer.files.first?.path ?? level.path
      }
    }
  }

  /// Of what is open already.
  init(_ levels: [Level]) {
    self.levels = levels
    unpacking = Unpacking(blocks: BlockCache(), needsSize: false, indexFolder: nil)
  }

  /// Opens the image at `path` and everything that it stands on.
  ///
  /// - Parameters:
  ///   - blocks: keeps what is decoded of compressed files.
  ///   - spill: keeps more of it; nil for nothing.
  /// - Throws: what opening one of them throws; `notFound` for a missing parent, naming where it was
  ///   looked for and what would fit; `malformed` for a chain that comes back to itself or is deeper
  ///   than `deepest`; `invalidRequest` for more parents given than there are.
  init(
    path: String, options: ImageOptions, _ blocks: BlockCache, _ spill: SpillSpace? = nil
  ) throws(DiskError) {
    unpacking = Unpacking(
      blocks: blocks, needsSize: options.needsExactSize, indexFolder: options.indexFolder,
      spill: spill, knownSizes: options.knownSizes)
    var files = try NamedFiles(image: path, allowed: options.allowedPaths)
    var given = options.parents[...]
    let top = try ImageSource(path: path, format: options.format, unpacking)
    try add(try top.parsed(files))
    if let warning = top.warning { notes.append(warning) }
    notes += levels[0].notes
    while let child = levels.last, let reference = child.image.parent {
      guard levels.count < Self.deepest else {
        throw DiskError(
          .malformed, "the chain of images is longer than \(Self.deepest)", path: child.path)
      }
      if let path = given.popFirst() {
        files = try NamedFiles(image: path, allowed: options.allowedPaths)
        // Where nothing names the parent, its format is only that of those that are looked at.
        let hint = reference.isByIdentityOnly ? nil : reference.format
        let source = try ImageSource(
          path: path, format: hint, joinsParts: reference.joinsParts, unpacking)
        try check(source.storage, against: child)
        let level = try source.parsed(files)
        if let doubt = reference.doubt(level.image) {
          notes.append("\(printable(path)), given as the parent, \(doubt)")
        }
        try add(level)
      } else {
        do throws(DiskError) {
          try add(try parent(reference, of: child, files, options))
        } catch  where error.kind == .permissionDenied && levels.count == 1 && options.format == nil
        {
          throw Self.doubting(error, child)
        }
      }
      note(of: levels[levels.count - 1])
    }
    if let extra = given.first {
      throw DiskError(
        .invalidRequest, "has no parent that '\(printable(extra))' could be",
        path: levels[levels.count - 1].path)
    }
  }

  /// A raw disk into which its guest wrote another format's header can name any file of the machine
  /// that it was copied to: whoever is told of such a file is told how that came about.
  private static func doubting(_ error: DiskError, _ child: Level) -> DiskError {
    let format = child.image.layers[0].description.format
    return DiskError(
      error.kind,
      error.message
        + " (it was found to be \(format) by its content; --format raw shows its bytes as they are "
        + "stored)", path: error.path, offset: error.offset, systemError: error.systemError,
      underlying: error.underlying)
  }

  private mutating func add(_ level: Level) throws(DiskError) {
    for layer in level.image.layers where layer.size == 0 {
      throw DiskError(.malformed, "holds a virtual disk of 0 bytes", path: level.path)
    }
    levels.append(level)
  }

  private mutating func note(of level: Level) {
    let name = printable(PathParts(level.path).name)
    notes += ([level.remark].compactMap(\.self) + level.notes)
      .map { "\(name): \($0)" }
  }

  /// Refuses a parent that is in the chain already.
  private func check(_ storage: any Storage, against child: Level) throws(DiskError) {
    guard !levels.contains(where: { $0.holds(storage) }) else {
      throw DiskError(
        .malformed,
        "its parent '\(printable(storage.path))' is already in the chain: the chain never ends",
        path: child.path)
    }
  }

  /// The first of the places that `reference` names where the right image is.
  private mutating func parent(
    _ reference: ParentReference, of child: Level, _ files: NamedFiles, _ options: ImageOptions
  ) throws(DiskError) -> Level {
    if let obstacle = reference.obstacle {
      throw DiskError(
        .permissionDenied, obstacle + "; --parent FILE gives one", path: child.path)
    }
    if reference.isByIdentityOnly { return try neighbour(reference, of: child, files, options) }
    var refusal: DiskError? = nil
    for path in reference.paths {
      let storage: any Storage
      do throws(DiskError) {
        storage = try Self.open(path, reference, of: child, files)
      } catch {
        if error.kind != .notFound { refusal = refusal ?? error }
        continue
      }
      try check(storage, against: child)
      let level = try ImageSource(named: storage, format: reference.format, unpacking)
        .parsed(files)
      guard let doubt = reference.refusal(level.image) else { return accepted(level, reference) }
      refusal = refusal ?? Self.refusal(storage.path, doubt, child)
    }
    throw refusal ?? MissingParent(reference, of: levels, files, options).error()
  }

  private static func open(
    _ path: String, _ reference: ParentReference, of child: Level, _ files: NamedFiles
  ) throws(DiskError) -> any Storage {
    let first = try files.open(
      path, namedBy: child.path, as: "parent", ignoringCase: reference.ignoresCase)
    guard reference.joinsParts, let parts = try SplitFileNames.parts(startingAt: first.path) else {
      return first
    }
    var storages: [any Storage] = [first]
    for part in parts.dropFirst() {
      let name = PathParts.join(PathParts(path).folder, PathParts(part).name)
      storages.append(try files.open(name, namedBy: child.path, as: "parent"))
    }
    return try ConcatenatedStorage(storages)
  }

  /// The first of the images around `child` that is the one it was made on.
  private mutating func neighbour(
    _ reference: ParentReference, of child: Level, _ files: NamedFiles, _ options: ImageOptions
  ) throws(DiskError) -> Level {
    var refusal: DiskError? = nil
    for neighbour in NeighbouringImages(reference, of: child.path, files).resembling {
      guard let doubt = reference.refusal(neighbour.level.image) else {
        try check(neighbour.storage, against: child)
        return accepted(neighbour.level, reference)
      }
      refusal = refusal ?? Self.refusal(neighbour.path, doubt, child)
    }
    throw refusal ?? MissingParent(reference, of: levels, files, options).error()
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
      "its parent '\(printable(path))' \(doubt); --parent \(shellWord(path)) reads it all the same",
      path: child.path)
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
