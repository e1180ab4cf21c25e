internal import DiskCore

/// A file format that wraps one stream of bytes and is none of an image: gzip, xz.
///
/// A new one is a type in a folder of its own, and one line in `ContainerRegistry`.
protocol ContainerFormat: Sendable {
  /// What `info` calls it.
  var name: String { get }

  /// Whether a file can be one, by its first bytes alone.
  func fits(_ head: ByteReader) -> Bool

  /// Reads what is needed to begin decoding anywhere it can begin; decodes nothing.
  ///
  /// - Throws: `malformed`, `truncated`, `unsupported`, each naming the place in the file.
  func open(_ source: any Storage) throws(DiskError) -> ContainedStream
}

/// Every container, in the order in which they are tried.
enum ContainerRegistry {
  static let containers: [any ContainerFormat] = [
    GzipContainer(), XZContainer(), ZstandardContainer(), Bzip2Container(), LZ4Container(),
    ZIPContainer(),
  ]

  /// The one that a file of these first bytes can be.
  static func container(fitting head: ByteReader) -> (any ContainerFormat)? {
    containers.first { $0.fits(head) }
  }
}

/// A container's stream before anything of it is decoded.
struct ContainedStream {
  let codec: any StreamCodec
  let points: EntryPoints
  let size: ExpectedSize
  /// For `info`: members, blocks, checksums.
  var details: [(name: String, value: String)]
  var notes: [String]

  init(
    _ codec: any StreamCodec, _ points: EntryPoints, size: ExpectedSize,
    details: [(name: String, value: String)] = [], notes: [String] = []
  ) {
    self.codec = codec
    self.points = points
    self.size = size
    self.details = details
    self.notes = notes
  }
}

/// What a container says of how many bytes it decodes to.
enum ExpectedSize: Sendable, Equatable {
  case exact(UInt64)
  /// Most likely this many; to be taken for true until the end was seen.
  case likely(UInt64)
  /// This many or a multiple of `step` more, inside the range: one that is not of these is not one
  /// member of gzip.
  case oneOf(UInt64, step: UInt64, in: ClosedRange<UInt64>)
  case unknown

  /// The smallest that is possible and at least `least`; nil where there is none.
  func candidate(atLeast least: UInt64) -> UInt64? {
    switch self {
    case .exact(let size), .likely(let size): return size >= least ? size : nil
    case .unknown: return nil
    case .oneOf(let first, let step, let range):
      let least = max(least, range.lowerBound)
      let steps = first >= least ? 0 : (least - first + step - 1) / step
      let size = first + steps * step
      return range.contains(size) ? size : nil
    }
  }

  /// The only one that there can be; where it must be right, only what is certain: a gzip file can have
  /// more members than the one whose length is at its end.
  func single(isNeeded: Bool) -> UInt64? {
    if isNeeded {
      guard case .exact(let size) = self else { return nil }
      return size
    }
    guard let size = candidate(atLeast: 0) else { return nil }
    if case .oneOf = self, candidate(atLeast: size + 1) != nil { return nil }
    return size
  }
}
