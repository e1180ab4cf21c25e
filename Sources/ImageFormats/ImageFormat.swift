public import DiskCore

/// One image format: how to know it and how to open it.
///
/// A new format is a folder with a conforming type, and one line in `FormatRegistry`.
public protocol ImageFormat: Sendable {
  /// The name that `--format` takes and `info` shows.
  var name: String { get }

  /// Other names people know it by.
  var aliases: [String] { get }

  /// Whether an image of this sample can be of this format, by content alone.
  func fits(_ sample: ImageSample) -> Bool

  /// Parses what is needed to answer `extent(at:limit:)`; reads no more of the image than that.
  ///
  /// - Throws: `malformed`, `truncated`, `unsupported`, each naming the place in the file.
  func open(_ source: any Storage) throws(DiskError) -> any ImageLayer
}

/// The two ends of an image, which is all that probing looks at.
public struct ImageSample: Sendable {
  /// Up to the first 4 KiB.
  public let head: ByteReader
  /// Up to the last 1 KiB.
  public let tail: ByteReader

  public init(of source: any Storage) throws(DiskError) {
    head = try source.reader(at: .start, count: Int(min(4096, source.size)))
    let count = min(1024, source.size)
    tail = try source.reader(at: FileOffset(source.size - count), count: Int(count))
  }
}
