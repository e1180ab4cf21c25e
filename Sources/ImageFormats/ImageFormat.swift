public import DiskCore

/// One image format: how to know it and how to open it.
///
/// A new format is a folder with a conforming type, and one line in `FormatRegistry`.
public protocol ImageFormat: Sendable {
  /// The name that `--format` takes and `info` shows.
  var name: String { get }

  /// Other names people know it by.
  var aliases: [String] { get }

  /// Whether an image can start with a compressed block, so that what its first bytes look like says
  /// nothing about it.
  var startsWithData: Bool { get }

  /// Whether images are known by their end, and opening one begins there.
  var isKnownByEnd: Bool { get }

  /// Whether an image of this sample can be of this format, by content alone.
  func fits(_ sample: ImageSample) -> Bool

  /// Parses what is needed to answer `extent(at:limit:)`; reads no more of the image than that.
  ///
  /// - Parameters:
  ///   - source: the image as it is stored.
  ///   - files: opens what the image names besides its parent: extents, a data file. The parent is
  ///     only named in the result, and `ImageChain` looks for it.
  /// - Throws: `malformed`, `truncated`, `unsupported`, each naming the place in the file.
  func open(_ source: any Storage, _ files: NamedFiles) throws(DiskError) -> ParsedImage
}

extension ImageFormat {
  public var startsWithData: Bool { false }
  public var isKnownByEnd: Bool { false }
}

/// The two ends of an image, which is all that probing looks at.
public struct ImageSample: Sendable {
  /// Up to the first 4 KiB.
  public let head: ByteReader
  /// Up to the last 1 KiB.
  public let tail: ByteReader
  /// Of the whole image, in bytes.
  public let size: UInt64

  public init(of source: any Storage) throws(DiskError) {
    size = source.size
    head = try Self.head(of: source)
    let count = min(1024, source.size)
    tail = try source.reader(at: FileOffset(source.size - count), count: Int(count))
  }

  /// Of the decoded bytes of a compressed file. Its end counts only where it can be read, and without
  /// decoding a lot: otherwise the first bytes alone say what it is.
  ///
  /// - Parameter always: whether it may be a lot.
  init(of source: DecodedStorage, readsTail always: Bool) throws(DiskError) {
    size = source.size
    head = try Self.head(of: source)
    let count = min(1024, source.size)
    let place = FileOffset(source.size - count)
    let isNear = source.stream.distance(to: place.bytes) <= Self.nearTail
    tail =
      (always || isNear ? try? source.reader(at: place, count: Int(count)) : nil)
      ?? ByteReader([], path: source.path, base: place.bytes)
  }

  /// What is decoded at once to look at an image's last bytes: a tenth of a second.
  private static let nearTail: UInt64 = 48 << 20

  static func head(of source: any Storage) throws(DiskError) -> ByteReader {
    try source.reader(at: .start, count: Int(min(4096, source.size)))
  }
}
