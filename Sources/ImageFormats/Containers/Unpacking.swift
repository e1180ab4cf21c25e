internal import DiskCore

/// How compressed files are opened while an image and its parents are.
struct Unpacking {
  /// Keeps what is decoded, for all of them.
  let blocks: BlockCache
  /// As `ImageOptions.needsExactSize`.
  let needsSize: Bool
  /// As `ImageOptions.indexFolder`.
  let indexFolder: String?
  /// As `ImageOptions.knownSizes`.
  var knownSizes: [String: [Int: UInt64]] = [:]

  /// What is inside `storage`, and what was around it, outermost first; `storage` itself where nothing
  /// is. What fits an image format is that, whatever it begins with.
  ///
  /// - Parameter forced: the format that the user says the image has.
  /// - Throws: as `OpenedContainer.open`.
  func unpacked(
    _ storage: any Storage, _ forced: (any ImageFormat)?
  ) throws(DiskError) -> (any Storage, [OpenedContainer]) {
    var storage = storage
    var containers: [OpenedContainer] = []
    while storage.size > 0 {
      let head = try ImageSample.head(of: storage)
      guard ContainerRegistry.container(fitting: head) != nil else { break }
      let sample = try sample(of: storage)
      let isImage = forced?.fits(sample) ?? FormatProbe(sample).isImage
      guard !isImage,
        let opened = try OpenedContainer.open(storage, head: head, self, depth: containers.count)
      else { break }
      containers.append(opened)
      storage = opened.storage
    }
    return (storage, containers)
  }

  func sample(of storage: any Storage) throws(DiskError) -> ImageSample {
    guard let decoded = storage as? DecodedStorage else { return try ImageSample(of: storage) }
    return try ImageSample(of: decoded, readsTail: needsSize)
  }
}
