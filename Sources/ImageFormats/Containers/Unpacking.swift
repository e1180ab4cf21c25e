internal import DiskCore

/// How compressed files are opened while an image and its parents are.
struct Unpacking {
  /// Keeps what is decoded, for all of them.
  let blocks: BlockCache
  /// As `ImageOptions.needsExactSize`.
  var needsSize: Bool
  /// As `ImageOptions.indexFolder`.
  let indexFolder: String?
  /// Takes what is decoded, so that it is not decoded again; nil to keep only what `blocks` does.
  var spill: SpillSpace?
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
    // Who says that it is such an image wants its end to be found.
    var unpacking = self
    unpacking.needsSize = needsSize || forced?.isKnownByEnd == true
    while storage.size > 0 {
      let head = try ImageSample.head(of: storage)
      guard ContainerRegistry.container(fitting: head) != nil else { break }
      let sample = try unpacking.sample(of: storage)
      let isImage = forced?.fits(sample) ?? FormatProbe(sample).isImage
      guard !isImage,
        let opened = try OpenedContainer.open(storage, head: head, unpacking, within: containers)
      else { break }
      containers.append(opened)
      storage = opened.storage
    }
    return (storage, containers)
  }

  /// What to know of an image whose end was not looked at, and whose beginning is nothing that Platter knows.
  func doubt(of storage: any Storage, _ sample: ImageSample) -> String? {
    guard sample.tail.count == 0, sample.size > 0,
      let head = try? storage.bytes(
        at: .start, count: Int(min(UInt64(InnerSize.looked), storage.size))),
      InnerSize.atLeast(head) == nil
    else { return nil }
    let formats = FormatRegistry.formats.filter(\.isKnownByEnd).map(\.name)
    return
      "its end is far inside the compressed stream and was not looked at, so that it is read as "
      + "raw; '--format \(formats.joined(separator: "' or '--format "))' says that it is one of those"
  }

  func sample(of storage: any Storage) throws(DiskError) -> ImageSample {
    guard let decoded = storage as? DecodedStorage else { return try ImageSample(of: storage) }
    return try ImageSample(of: decoded, readsTail: needsSize)
  }
}
