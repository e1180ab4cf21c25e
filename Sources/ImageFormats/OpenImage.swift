public import DiskCore

/// What the user said about how to open an image.
public struct ImageOptions: Sendable, Hashable {
  /// `--format`: nil to go by content.
  public var format: String?

  public init(format: String? = nil) { self.format = format }
}

/// An image that is open: its disk, and what there is to say about how it was opened.
public struct OpenImage: Sendable {
  public let disk: Disk
  /// As the user typed it.
  public let path: String
  /// What to know before trusting it: about the format, and each layer's own.
  public let notes: [String]
  /// How the format was chosen, where that was not plain and is not among the notes.
  public let remark: String?

  /// Opens the image at `path`, with all the files that belong to it.
  ///
  /// - Throws: `notFound`, `permissionDenied`, `invalidRequest` (a directory, an empty file, an
  ///   unknown format), `unsupported`, `malformed`, `truncated`, always naming the file.
  public init(path: String, options: ImageOptions = ImageOptions()) throws(DiskError) {
    var forced: (any ImageFormat)? = nil
    if let name = options.format { forced = try FormatRegistry.format(named: name) }
    let source = try Self.source(path: path, asItStands: forced is RawFormat)
    guard source.size > 0 else {
      throw DiskError(.invalidRequest, "is empty: 0 bytes hold no disk", path: path)
    }
    let probe = FormatProbe(try ImageSample(of: source))
    let format = if let forced { forced } else { try probe.choice(path: path) }
    let layer = try format.open(source)
    guard layer.size > 0 else {
      throw DiskError(.malformed, "holds a virtual disk of 0 bytes", path: path)
    }
    disk = try Disk(layers: [layer])
    self.path = path
    let warning = forced == nil ? probe.warning : nil
    notes = [warning].compactMap(\.self) + layer.description.notes
    remark = forced == nil && warning == nil ? probe.remark : nil
  }

  /// The stored bytes: one file, or all parts of a split image. With `--format raw` a file is taken
  /// as it stands.
  private static func source(path: String, asItStands: Bool) throws(DiskError) -> any Storage {
    if !asItStands, let parts = try SplitFileNames.parts(startingAt: path) {
      var storages: [any Storage] = []
      for part in parts { storages.append(try FileStorage(path: part)) }
      return try ConcatenatedStorage(storages)
    }
    return try FileStorage(path: path)
  }
}
