public import DiskCore

/// A container around an image, opened.
public final class OpenedContainer: Sendable {
  /// The container's name: `gzip`.
  public let name: String
  /// The stored file.
  public let path: String
  let storage: DecodedStorage
  private let activity: StreamActivity
  private let details: [(name: String, value: String)]
  /// Whether the container says how large it is, and that is checked at the end.
  private let isSizeStated: Bool
  private let fixedNotes: [String]

  fileprivate init(
    _ name: String, _ stream: ContainedStream, _ storage: DecodedStorage,
    _ activity: StreamActivity, _ notes: [String]
  ) {
    self.name = name
    path = storage.path
    self.storage = storage
    self.activity = activity
    details = stream.details
    isSizeStated = stream.size == .exact(storage.size)
    fixedNotes = stream.notes + notes
  }

  /// In decoded bytes, as it was when the image was opened.
  public var size: UInt64 { storage.size }

  /// Whether that is known to be true: from an index, or because the end was reached.
  public var isSizeExact: Bool {
    storage.stream.points.end.map { $0 == storage.size } ?? isSizeStated
  }

  /// For who checks all of it.
  public var stream: any VerifiableStream { storage }

  /// How far a long way through the stream is, in decoded bytes; nil where nobody is on one.
  public var progress: (decoded: UInt64, target: UInt64)? { activity.progress }

  /// Ends what is being decoded with an error (EINTR), and all that is asked for from now on.
  public func cancel() { activity.cancel() }

  /// Facts worth showing, in order.
  public var facts: [(name: String, value: String)] {
    let points = storage.stream.points
    return details + [
      ("decoded size", "\(size)"), ("size exact", isSizeExact ? "yes" : "no"),
      ("entry points", "\(points.count)"), ("index bytes", "\(points.windowBytes)"),
    ]
  }

  /// What to know before trusting it, as far as it is known by now.
  public var notes: [String] {
    var notes = fixedNotes
    let points = storage.stream.points
    if points.trailing > 0 {
      notes.append("\(points.trailing) bytes behind the \(name) data are not of it")
    }
    if activity.wasOutgrown {
      notes.append(
        "is longer than the \(size) bytes that are shown; opened again it will have its true size")
    } else if let end = points.end, end < size {
      notes.append("ends after \(end) bytes; what is shown behind that cannot be read")
    }
    return notes
  }
}

extension OpenedContainer {
  /// How many containers may be around each other.
  static let mostNested = 4
  /// A stream that ends before this many decoded bytes is measured when it is opened.
  static let measuredAtOnce: UInt64 = 1 << 20

  /// Opens `source` as a container where its first bytes say that it is one.
  ///
  /// - Parameters:
  ///   - unpacking: where the size must be right, a stream that does not say is decoded to its end, and
  ///     reading the end of one that said wrong fails.
  ///   - depth: how many containers are around this one.
  /// - Throws: `unsupported` for one too many; otherwise as the container's `open`, and what decoding
  ///   throws.
  static func open(
    _ source: any Storage, head: ByteReader, _ unpacking: Unpacking, depth: Int
  ) throws(DiskError) -> OpenedContainer? {
    guard let container = ContainerRegistry.container(fitting: head) else { return nil }
    guard depth < mostNested else {
      throw DiskError(
        .unsupported, "is compressed more than \(mostNested) times over", path: source.path)
    }
    var stream = try container.open(source)
    var index: KeptIndex?
    // What is inside another container would have to be decoded to be known again.
    if let folder = unpacking.indexFolder, !stream.points.isComplete, depth == 0 {
      index = KeptIndex(of: source, as: container.name, in: folder)
    }
    if let kept = index?.load(spacing: stream.points.leastSpacing) { stream = stream.with(kept) }
    if let end = unpacking.knownSizes[source.path]?[depth], !stream.points.isComplete {
      stream.points.setEnd(end, trailing: 0)
    }
    let activity = StreamActivity { [index] in index?.save($0) }
    let (size, notes) = try StreamMeasure(stream, source, activity).size(
      isNeeded: unpacking.needsSize)
    let seekable = SeekableStream(
      source, size: size, stream.codec, stream.points, isStrict: unpacking.needsSize, activity)
    return OpenedContainer(
      container.name, stream, try DecodedStorage(seekable, container.name, unpacking.blocks),
      activity, notes)
  }
}

extension ContainedStream {
  /// The same stream with what is known of it from another time.
  fileprivate func with(_ points: EntryPoints) -> ContainedStream {
    ContainedStream(codec, points, size: size, details: details, notes: notes)
  }
}
