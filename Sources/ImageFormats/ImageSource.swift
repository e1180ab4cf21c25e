internal import DiskCore

/// Stored bytes and the format to read them with.
struct ImageSource {
  let storage: any Storage
  private let format: any ImageFormat
  /// What to say to everybody who opens an image that fits more than one format.
  let warning: String?
  /// How the format was found, where that was not plain and no warning says it.
  let remark: String?

  /// An image that the user named: one file, or all parts of a split image. With `--format raw` a
  /// file is taken as it stands.
  ///
  /// - Parameter joinsParts: whether that holds for raw parts too.
  init(path: String, format: String?, joinsParts: Bool = false) throws(DiskError) {
    let forced = try format.map { (name) throws(DiskError) in
      try FormatRegistry.format(named: name)
    }
    let asItStands = forced is RawFormat && !joinsParts
    try self.init(Self.storage(path: path, asItStands: asItStands), forced)
  }

  /// An image that another one names.
  ///
  /// - Parameter format: as the other one has it.
  init(named storage: any Storage, format: String?) throws(DiskError) {
    var forced: (any ImageFormat)? = nil
    if let format {
      do throws(DiskError) {
        forced = try FormatRegistry.format(named: format)
      } catch {
        throw DiskError(
          .unsupported,
          "is named as a parent of the format '\(printable(format))', which is none "
            + "that Platter reads", path: storage.path)
      }
    }
    try self.init(storage, forced)
  }

  private init(_ storage: any Storage, _ forced: (any ImageFormat)?) throws(DiskError) {
    guard storage.size > 0 else {
      throw DiskError(.invalidRequest, "is empty: 0 bytes hold no disk", path: storage.path)
    }
    self.storage = storage
    if let forced {
      format = forced
      warning = nil
      remark = nil
    } else {
      let probe = FormatProbe(try ImageSample(of: storage))
      format = try probe.choice(path: storage.path)
      warning = probe.warning
      remark = probe.warning == nil ? probe.remark : nil
    }
  }

  func parsed(_ files: NamedFiles) throws(DiskError) -> ImageChain.Level {
    ImageChain.Level(
      of: storage, image: try format.open(storage, files), remark: warning ?? remark)
  }

  private static func storage(path: String, asItStands: Bool) throws(DiskError) -> any Storage {
    if !asItStands, let parts = try SplitFileNames.parts(startingAt: path) {
      var storages: [any Storage] = []
      for part in parts { storages.append(try FileStorage(path: part)) }
      return try ConcatenatedStorage(storages)
    }
    return try FileStorage(path: path)
  }
}
