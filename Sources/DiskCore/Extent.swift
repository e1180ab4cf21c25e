/// A layer's answer to "at this offset, for how many bytes, where is the data?".
public struct Extent: Sendable {
  public enum Place: Sendable {
    /// Reads as zeros and is stored nowhere.
    case zero
    /// These bytes of a source, from `at` on.
    case stored(any Storage, at: FileOffset)
    /// Inside block `index` of `decoder`, which decodes to more than `at` bytes, from `at` on.
    case encoded(any BlockDecoder, index: UInt64, at: Int)
    /// This layer has nothing here: ask the next layer down, at this offset of its own. Past that
    /// layer's end, and below the last layer, are zeros.
    case below(DiskOffset)
    /// Damaged: every read that touches it fails with this error, and no other read does.
    case unreadable(DiskError)
  }

  public let place: Place
  /// In bytes; at least 1.
  public let length: UInt64

  public init(_ place: Place, length: UInt64) {
    self.place = place
    self.length = length
  }
}
