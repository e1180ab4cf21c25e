/// One opened image file (or set of files) of a disk's stack: a parser that answers where.
///
/// A layer never copies data. A new format is this protocol and nothing else: the engine in `Disk`
/// reads, and holes, maps, hashes and allocated sizes all come from the same answers.
public protocol ImageLayer: AnyObject, Sendable {
  /// The size of the virtual disk that this layer describes, in bytes; at most
  /// `Limits.largestDisk`.
  var size: UInt64 { get }

  /// Where the data at `offset` is.
  ///
  /// - Parameters:
  ///   - offset: less than `size`.
  ///   - limit: how many bytes the caller cares for, at least 1. A layer need not look further, and
  ///     may answer for fewer or for more; the engine merges neighbours and clips.
  /// - Throws: what kept it from reading its own tables.
  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent

  /// How many bytes of tables a walk over the whole layer reads.
  var tableBytes: UInt64 { get }

  /// Every file that this layer's bytes come from.
  var files: [any Storage] { get }

  /// What `info` says of this layer.
  var description: LayerDescription { get }
}

/// What an image says of itself.
public struct LayerDescription: Sendable {
  /// The name that `--format` takes.
  public var format: String
  /// The format's own word for its variant: `fixed`, `dynamic`, `split`.
  public var subformat: String?
  /// Facts worth showing, in order: creator, identifier, block size.
  public var details: [(name: String, value: String)]
  /// What a person should know before trusting it: a damaged footer whose copy was used, a size
  /// that other tools read differently.
  public var notes: [String]

  public init(
    format: String, subformat: String? = nil, details: [(name: String, value: String)] = [],
    notes: [String] = []
  ) {
    self.format = format
    self.subformat = subformat
    self.details = details
    self.notes = notes
  }
}
