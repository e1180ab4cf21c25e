internal import DiskCore

/// Stored bytes and the format to read them with.
struct ImageSource {
  let storage: any Storage
  /// What is around the image, outermost first.
  let containers: [OpenedContainer]
  private let format: any ImageFormat
  /// What to say to everybody who opens an image that fits more than one format.
  let warning: String?
  /// How the format was found, where that was not plain and no warning says it.
  let remark: String?

  /// An image that the user named: one file, or all parts of a split image. With `--format raw` a
  /// file is taken as it stands.
  ///
  /// - Parameters:
  ///   - joinsParts: whether that holds for raw parts too.
  ///   - unpacking: how what is compressed is opened.
  init(
    path: String, format: String?, joinsParts: Bool = false, _ unpacking: Unpacking
  ) throws(DiskError) {
    let forced = try format.map { (name) throws(DiskError) in
      try FormatRegistry.format(named: name)
    }
    let asItStands = forced is RawFormat && !joinsParts
    try self.init(Self.storage(path: path, asItStands: asItStands), forced, unpacking)
  }

  /// An image that another one names.
  ///
  /// - Parameters:
  ///   - format: as the other one has it.
  ///   - unpacking: how what is compressed is opened; nil to leave it as it stands, for those who look
  ///     at many files.
  init(
    named storage: any Storage, format: String?, _ unpacking: Unpacking? = nil
  ) throws(DiskError) {
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
    try self.init(storage, forced, unpacking)
  }

  private init(
    _ stored: any Storage, _ forced: (any ImageFormat)?, _ unpacking: Unpacking?
  ) throws(DiskError) {
    var storage = stored
    var containers: [OpenedContainer] = []
    if let unpacking, !(forced is RawFormat) {
      (storage, containers) = try unpacking.unpacked(stored, forced)
    }
    guard storage.size > 0 else {
      throw DiskError(.invalidRequest, "is empty: 0 bytes hold no disk", path: storage.path)
    }
    self.storage = storage
    self.containers = containers
    if let forced {
      format = forced
      warning = nil
      remark = nil
    } else {
      let sample =
        if let unpacking { try unpacking.sample(of: storage) } else {
          try ImageSample(of: storage)
        }
      let probe = FormatProbe(sample)
      format = try probe.choice(path: storage.path)
      let doubt = format is RawFormat ? unpacking?.doubt(of: storage, sample) : nil
      warning = probe.warning ?? doubt
      remark = warning == nil ? probe.remark : nil
    }
  }

  func parsed(_ files: NamedFiles) throws(DiskError) -> ImageChain.Level {
    ImageChain.Level(
      of: storage, image: try format.open(storage, files), remark: warning ?? remark, containers)
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
