public import DiskCore
internal import Synchronization

/// A container around an image, opened.
public final class OpenedContainer: Sendable {
  /// The container's name: `gzip`.
  public let name: String
  /// The stored file.
  public let path: String
  private let current: Mutex<DecodedStorage>
  private let activity: StreamActivity
  private let details: [(name: String, value: String)]
  /// Whether the container says how large it is, and that is checked at the end.
  private let isSizeStated: Bool
  private let fixedNotes: [String]
  /// What was said of its size when that was a guess.
  public let guesses: [String]

  fileprivate init(
    _ name: String, _ stream: ContainedStream, _ storage: DecodedStorage,
    _ activity: StreamActivity, guesses: [String]
  ) {
    self.name = name
    path = storage.path
    current = Mutex(storage)
    self.activity = activity
    details = stream.details
    isSizeStated = stream.size == .exact(storage.size)
    fixedNotes = stream.notes
    self.guesses = guesses
  }

  var storage: DecodedStorage { current.withLock { $0 } }

  /// What is inside with its true size, which it has from now on; nil where that is not known, or is what is
  /// shown.
  func correct() throws(DiskError) -> DecodedStorage? {
    let shown = storage
    guard let end = shown.stream.points.end, end != shown.size, end > 0, end <= Limits.largestDisk
    else { return nil }
    let corrected = try shown.resized(to: end)
    current.withLock { $0 = corrected }
    return corrected
  }

  /// From now on `act` is called where the stream's end is found elsewhere than it was thought to be: on the
  /// thread that came to it, before what it was asked for is answered.
  public func whenSizeIsFound(_ act: @escaping @Sendable () -> Void) {
    activity.whenCorrected(act)
  }

  /// In decoded bytes, as it is shown.
  public var size: UInt64 { storage.size }

  /// Whether that is known to be true: from an index, or because the end was reached.
  public var isSizeExact: Bool {
    storage.stream.points.end.map { $0 == storage.size } ?? isSizeStated
  }

  /// For who checks all of it.
  public var stream: any VerifiableStream { storage }

  /// How many bytes must be decoded at most before one of the stream's can be read.
  public var longestWay: UInt64 { storage.longestWay }

  /// How far a long way through the stream is, in decoded bytes, and how far it goes where that is known; nil
  /// where nobody is on one.
  public var progress: (decoded: UInt64, target: UInt64?)? { activity.progress }

  /// How many bytes its decoders gave since it was opened, those too that nobody wanted.
  public var bytesDecoded: UInt64 { storage.stream.decoded }

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
    var notes = fixedNotes + (isSizeExact ? [] : guesses)
    let points = storage.stream.points
    if points.trailing > 0 {
      notes.append("\(points.trailing) bytes behind the \(name) data are not of it")
    }
    if let end = points.end, end < size {
      notes.append("ends after \(end) bytes; what is shown behind that cannot be read")
    } else if activity.wasOutgrown, points.end != size {
      notes.append(
        "is longer than the \(size) bytes that are shown; opened again it will have its true size")
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
  ///   - outer: the containers around this one, outermost first.
  /// - Throws: `unsupported` for one too many; otherwise as the container's `open`, and what decoding
  ///   throws.
  static func open(
    _ source: any Storage, head: ByteReader, _ unpacking: Unpacking,
    within outer: [OpenedContainer] = []
  ) throws(DiskError) -> OpenedContainer? {
    guard let container = ContainerRegistry.container(fitting: head) else { return nil }
    guard outer.count < mostNested else {
      throw DiskError(
        .unsupported, "is compressed more than \(mostNested) times over", path: source.path)
    }
    let interruption = Interruption()
    let source = InterruptibleStorage(source, interruption)
    var stream = try container.open(source)
    var index: KeptIndex?
    if let folder = unpacking.indexFolder, !stream.points.isComplete {
      index = KeptIndex(of: source, as: outer.map(\.name) + [container.name], in: folder)
    }
    if let kept = index?.load(spacing: stream.points.leastSpacing) { stream = stream.with(kept) }
    if let end = unpacking.knownSizes[source.path]?[outer.count], !stream.points.isComplete {
      stream.points.setEnd(end, trailing: 0)
    }
    let activity = StreamActivity(interruption) { [index] in index?.save($0) }
    let (size, notes) = try StreamMeasure(stream, source, activity).size(
      isNeeded: unpacking.needsSize)
    let seekable = SeekableStream(
      source, size: size, stream.codec, stream.points, isStrict: unpacking.needsSize, activity,
      unpacking.blocks.memory,
      spilled: try unpacking.spill.map { (space) throws(DiskError) in try SpilledBlocks(in: space) }
    )
    return OpenedContainer(
      container.name, stream, try DecodedStorage(seekable, container.name, unpacking.blocks),
      activity, guesses: notes)
  }
}

extension ContainedStream {
  /// The same stream with what is known of it from another time.
  fileprivate func with(_ points: EntryPoints) -> ContainedStream {
    ContainedStream(codec, points, size: size, details: details, notes: notes)
  }
}
