public import DiskCore

/// What the user said about how to open an image.
public struct ImageOptions: Sendable, Hashable {
  /// `--format`: nil to go by content.
  public var format: String?
  /// `--parent`: in place of the parent that the image names, of that one's parent, and so on.
  public var parents: [String]
  /// `--allow-path`: folders that images may name files in, besides their own.
  public var allowedPaths: [String]
  /// `--snapshot`: the older state to show in place of the disk.
  public var snapshot: String?
  /// `--cache-size`: how many bytes of decoded blocks are kept.
  public var cacheSize: Int
  /// Whether the disk's size must be right. Otherwise that of a compressed stream that does not say how
  /// long it is can be a guess, and opening it does not wait for its end.
  public var needsExactSize = true
  /// Where it is kept what was found out of compressed streams; nil to keep nothing.
  public var indexFolder: String? = CacheFolder.standard
  /// `--spill`: how many bytes of decoded streams a file without a name may keep; nil for no file.
  public var spillSize: UInt64?
  /// What streams decode to, by path and by how many containers are around them, for those who went
  /// through them to their ends before.
  var knownSizes: [String: [Int: UInt64]] = [:]

  public init(
    format: String? = nil, parents: [String] = [], allowedPaths: [String] = [],
    snapshot: String? = nil, cacheSize: Int = Limits.decodedBlocks
  ) {
    self.format = format
    self.parents = parents
    self.allowedPaths = allowedPaths
    self.snapshot = snapshot
    self.cacheSize = cacheSize
  }
}

/// An image that is open: its disk, and what there is to say about how it was opened.
public struct OpenImage: Sendable {
  public let disk: Disk
  /// What each of the disk's layers is known by, top first: the path of its image.
  public let paths: [String]
  /// As the user typed it.
  public let path: String
  /// What to know before trusting it: about the format, and each layer's own.
  public let notes: [String]
  /// How the format was chosen, where that was not plain and is not among the notes.
  public let remark: String?
  /// What is around the image and those below it, each chain's outermost first.
  public let containers: [OpenedContainer]
  /// The older states that can be shown beside this one; none of a snapshot.
  public let snapshots: [DiskSnapshot]
  /// What was decoded of it and its snapshots.
  public let blocks: BlockCache
  /// What was decoded of the containers and is in a file; nil where nothing is kept so.
  public let spill: SpillSpace?

  /// Opens the image at `path`, with all the files that belong to it.
  ///
  /// - Throws: `notFound`, `permissionDenied`, `invalidRequest` (a directory, an empty file, an
  ///   unknown format), `unsupported`, `malformed`, `truncated`, always naming the file.
  public init(path: String, options: ImageOptions = ImageOptions()) throws(DiskError) {
    let blocks = BlockCache(capacity: options.cacheSize)
    self.blocks = blocks
    let spill = options.spillSize.map { size in
      SpillSpace(capacity: size) { () throws(DiskError) in
        try NamelessFiles().make(for: "spill")
      }
    }
    let chain = try ImageChain(path: path, options: options, blocks, spill)
    containers = chain.levels.flatMap(\.containers)
    let longestWay = containers.longestWay
    self.spill = containers.isEmpty ? nil : spill
    let spillNote = spill.flatMap { [containers] _ in
      containers.isEmpty
        ? "--spill has nothing to do: it is for what is in gzip, xz, zstd, bzip2, LZ4 or ZIP"
        : NamelessFiles().remark(on: "decoded bytes are")
    }
    let snapshots = DiskSnapshot.all(of: chain, blocks, longestWay: longestWay)
    self.path = path
    notes = chain.notes + [spillNote].compactMap(\.self)
    // Said once: what is a warning is among the notes.
    let remark = chain.levels[0].remark
    self.remark = remark.flatMap { chain.notes.contains($0) ? nil : $0 }
    guard let wanted = options.snapshot else {
      disk = try Disk(layers: chain.layers, blocks: blocks, longestWay: longestWay)
      paths = chain.paths
      self.snapshots = snapshots
      return
    }
    let snapshot = try DiskSnapshot.named(wanted, in: snapshots, of: path)
    disk = try snapshot.open()
    paths = snapshot.paths
    self.snapshots = []
  }
}

extension OpenImage {
  /// The disk with its true size, where that was a guess and the compressed stream's end was reached meanwhile;
  /// nil where there is nothing to correct. Only a flat image's size is its stream's.
  public func corrected() throws(DiskError) -> Disk? {
    guard disk.layers.count == 1, let flat = disk.layers[0] as? RawImage,
      let container = containers.last,
      container.storage === flat.source, let storage = try container.correct()
    else { return nil }
    return try Disk(
      layers: [RawImage(storage)], blocks: blocks, longestWay: containers.longestWay)
  }
}

extension [OpenedContainer] {
  /// As a disk over what is in them wants it.
  var longestWay: (@Sendable () -> UInt64)? {
    guard !isEmpty else { return nil }
    return { [self] () -> UInt64 in map(\.longestWay).max() ?? 0 }
  }
}
