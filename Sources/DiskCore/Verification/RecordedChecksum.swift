/// A checksum that is computed piece by piece.
public protocol RunningChecksum: Sendable {
  mutating func add(_ bytes: RawSpan)
  /// Of all that was added so far.
  var value: UInt32 { get }
}

/// A checksum that an image keeps of what it holds: what to compute it of, and what must come out.
public struct RecordedChecksum: Sendable {
  /// A piece of what the checksum is of.
  public enum Part: Sendable {
    /// Of the disk, as it reads.
    case disk(Range<UInt64>)
    /// Of a file, as it is stored.
    case stored(any Storage, Range<UInt64>)
    /// These bytes: other checksums, or zeros that stand for the checksum's own field.
    case bytes([UInt8])
  }

  /// What must come out.
  public enum Value: Sendable {
    case known(UInt32)
    /// What the file has there.
    case stored(any Storage, at: FileOffset, ByteReader.ByteOrder)
  }

  /// What such a checksum is called, for all of its kind together: `header CRC-32C`.
  public let kind: String
  /// What it is of, as people know it: a partition's name.
  public let name: String
  /// In order, one behind the other.
  public let parts: [Part]
  public let value: Value
  let begin: @Sendable () -> any RunningChecksum

  /// - Parameter begin: gives the checksum of nothing.
  public init(
    _ kind: String, name: String, of parts: [Part], is value: Value,
    by begin: @escaping @Sendable () -> any RunningChecksum
  ) {
    self.kind = kind
    self.name = name
    self.parts = parts
    self.value = value
    self.begin = begin
  }

  /// Of a structure in a file that holds its own checksum in four bytes.
  ///
  /// - Parameters:
  ///   - field: from the structure's start, in bytes.
  ///   - fieldIs: what is added in the field's place; nothing where it is left out.
  public init(
    _ kind: String, name: String, of storage: any Storage, at place: Range<UInt64>, field: UInt64,
    fieldIs: [UInt8], _ order: ByteReader.ByteOrder,
    by begin: @escaping @Sendable () -> any RunningChecksum
  ) {
    let start = place.lowerBound + field
    self.init(
      kind, name: name,
      of: [
        .stored(storage, place.lowerBound..<start), .bytes(fieldIs),
        .stored(storage, start + 4..<max(start + 4, place.upperBound)),
      ], is: .stored(storage, at: FileOffset(start), order), by: begin)
  }
}

/// A layer whose format keeps checksums that reading does not look at.
///
/// This is all that a format does to take part in `platter verify`; compressed blocks have
/// `BlockDecoder.checksum(of:)`, and what is around an image `VerifiableStream`.
public protocol ChecksummedLayer: ImageLayer {
  var checksums: [RecordedChecksum] { get }
}
