public import DiskCore

/// How a stored file is known again: what it looked like when something was tied to it, an overlay or a
/// kept index.
public struct FileIdentityRecord: Sendable, Equatable {
  /// A piece of the stored file and its digest.
  public struct Sample: Sendable, Equatable {
    public let offset: UInt64
    /// In bytes.
    public let length: UInt32
    /// SHA-256, 32 bytes.
    public let digest: [UInt8]

    public init(offset: UInt64, length: UInt32, digest: [UInt8]) {
      self.offset = offset
      self.length = length
      self.digest = digest
    }
  }

  /// As it was opened.
  public var path: String
  /// Of the file itself, in bytes; not of the disk in it.
  public var storedSize: UInt64
  public var modified: (seconds: Int64, nanoseconds: UInt32)
  /// The format's own UUID or CID; empty where it has none.
  public var identifier: String
  public var samples: [Sample]

  public init(
    path: String, storedSize: UInt64, modified: (seconds: Int64, nanoseconds: UInt32),
    identifier: String, samples: [Sample]
  ) {
    self.path = path
    self.storedSize = storedSize
    self.modified = modified
    self.identifier = identifier
    self.samples = samples
  }

  public static func == (a: Self, b: Self) -> Bool {
    a.path == b.path && a.storedSize == b.storedSize && a.modified == b.modified
      && a.identifier == b.identifier && a.samples == b.samples
  }
}

extension FileIdentityRecord {
  /// Formats keep their headers, tables and descriptors at the start, VHD and DMG their footers at
  /// the end.
  private static let head: UInt64 = 16384
  private static let piece: UInt64 = 4096
  /// Between the head and the tail, evenly: metadata that is spread over the file, and content.
  private static let between: UInt64 = 8

  /// Where a file of `size` bytes is looked at.
  static func places(_ size: UInt64) -> [(offset: UInt64, length: UInt32)] {
    guard size > head + piece else { return size == 0 ? [] : [(UInt64(0), UInt32(size))] }
    var places = [(offset: UInt64(0), length: UInt32(head))]
    let last = size - piece
    var end = head
    for index in 1...between {
      // Multiplied before it is divided this would overflow for the largest files.
      let place = (head + (last - head) / (between + 1) * index) / piece * piece
      guard place >= end, place + piece <= last else { continue }
      places.append((place, UInt32(piece)))
      end = place + piece
    }
    places.append((last, UInt32(piece)))
    return places
  }

  /// What `file` looks like now.
  ///
  /// - Parameter identifier: the format's own UUID or CID; empty where it has none.
  /// - Throws: what reading the file throws; `unavailable` where libcrypto has no SHA-256.
  public static func of(
    _ file: any Storage, identifier: String = ""
  ) throws(DiskError) -> FileIdentityRecord {
    let size = file.size
    var samples: [Sample] = []
    for (offset, length) in places(size) {
      samples.append(try sample(of: file, offset, length))
    }
    let time = file.modificationTime
    return FileIdentityRecord(
      path: file.path, storedSize: size,
      modified: (Int64(time.seconds), UInt32(clamping: time.nanoseconds)), identifier: identifier,
      samples: samples)
  }

  private static func sample(
    of file: any Storage, _ offset: UInt64, _ length: UInt32
  ) throws(DiskError) -> Sample {
    let bytes = try file.bytes(at: FileOffset(offset), count: Int(length))
    return Sample(offset: offset, length: length, digest: try Digest.of(bytes, .sha256))
  }

  /// How `file` differs from this record; its path is not looked at.
  ///
  /// - Throws: as `of(_:identifier:)`.
  public func differences(
    from file: any Storage, identifier: String = ""
  ) throws(DiskError) -> [FileDifference] {
    var found: [FileDifference] = []
    if file.size != storedSize { found.append(.size(recorded: storedSize, found: file.size)) }
    if identifier != self.identifier {
      found.append(.identifier(recorded: self.identifier, found: identifier))
    }
    for sample in samples {
      // Past the end there is nothing to compare; the size says that already.
      guard sample.offset <= file.size, UInt64(sample.length) <= file.size - sample.offset else {
        continue
      }
      if try Self.sample(of: file, sample.offset, sample.length) != sample {
        found.append(.content(offset: sample.offset, length: sample.length))
      }
    }
    let time = file.modificationTime
    if modified != (Int64(time.seconds), UInt32(clamping: time.nanoseconds)) {
      found.append(.time)
    }
    return found
  }
}

/// One way in which a file is not as it was recorded.
public enum FileDifference: Sendable, Equatable {
  /// In bytes.
  case size(recorded: UInt64, found: UInt64)
  case identifier(recorded: String, found: String)
  /// A sample of the stored bytes.
  case content(offset: UInt64, length: UInt32)
  /// Only when it was changed; not that it was.
  case time

  /// Whether what was tied to the file no longer belongs to it.
  public var isOfContent: Bool { self != .time }
}

extension FileDifference: CustomStringConvertible {
  public var description: String {
    switch self {
    case .size(let recorded, let found): "its size is \(found) bytes and was \(recorded)"
    case .identifier(let recorded, let found):
      "its identifier is '\(printable(found))' and was '\(printable(recorded))'"
    case .content(let offset, let length):
      "some of the \(length) bytes at \(offset) have changed"
    case .time: "its time of modification has changed"
    }
  }
}
