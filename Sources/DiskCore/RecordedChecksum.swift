/// A checksum that an image keeps of what it holds: what to compute, and what must come out.
public struct RecordedChecksum: Sendable {
  public enum Subject: Sendable {
    /// These parts of the layer's disk, in order, one behind the other, as it reads.
    case disk([Range<UInt64>])
    /// These bytes of a file, as they are stored.
    case stored(any Storage, Range<UInt64>)
    /// These bytes, which are other checksums.
    case bytes([UInt8])
  }

  /// What it is of, as people know it: a partition's name.
  public let name: String
  public let subject: Subject
  /// CRC-32 as in zlib (RFC 1952, section 8).
  public let crc32: UInt32

  public init(name: String, of subject: Subject, crc32: UInt32) {
    self.name = name
    self.subject = subject
    self.crc32 = crc32
  }
}

/// A layer whose format keeps checksums that reading does not look at, because each is of more than
/// what is read at once.
public protocol ChecksummedLayer: ImageLayer {
  var checksums: [RecordedChecksum] { get }
}
