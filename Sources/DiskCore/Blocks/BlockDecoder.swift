/// What turns the compressed blocks of one image into bytes. A driver names the block in its
/// `Extent`; when and how often it is decoded is the engine's business.
///
/// Safe to call from any thread at once.
public protocol BlockDecoder: AnyObject, Sendable {
  /// The file that the blocks are in.
  var source: any Storage { get }

  /// How many bytes block `index` decodes to, at most `Limits.largestBlock`.
  func decodedBytes(of index: UInt64) -> Int

  /// Fills `buffer`, which is `decodedBytes(of: index)` long, with block `index`.
  ///
  /// - Parameter index: the driver's own number for the block, from its extent: a position in a
  ///   table, or the table's entry itself.
  /// - Throws: `malformed` or `truncated`, naming the place in the file, where the block is damaged.
  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError)

  /// What blocks have in common that can only be decoded one after the other; nil where each can be decoded by
  /// itself. Neighbours of one part are decoded ahead by one thread.
  func part(of index: UInt64) -> UInt64?

  /// How many parts can be decoded at once.
  var partsAtOnce: Int { get }

  /// What checksum of block `index` decoding compares, as people call it: `block Adler-32`; nil where
  /// there is none.
  func checksum(of index: UInt64) -> String?
}

extension BlockDecoder {
  public func checksum(of index: UInt64) -> String? { nil }
  public func part(of index: UInt64) -> UInt64? { nil }
  public var partsAtOnce: Int { .max }
}
