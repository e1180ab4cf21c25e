internal import DiskCore
internal import ImageFormats

/// What `status.json` and `list --json` say of a mount. A field never changes its meaning.
public struct MountStatus: Codable, Sendable {
  public var version = 1
  /// Absolute paths.
  public var mountPoint: String
  /// The mounted file system's number in /proc/self/mountinfo, `major:minor`.
  public var device: String
  public var image: String
  public var format: String
  public var subformat: String?
  /// In bytes.
  public var virtualSize: UInt64
  /// `mbr`, `gpt` or `none`.
  public var partitionTable: String
  public var readOnly: Bool
  /// Where writes go: `refused`, `inPlace`, `scratch` or `overlay`.
  public var changes: String
  /// The file that keeps the changes.
  public var overlay: String?
  /// `kernel` or `none`.
  public var cache: String
  public var daemonPid: Int32
  public var supervisorPid: Int32
  /// Seconds since 1970.
  public var mountedAt: Int
  /// Read requests that reached the daemon, and the bytes it gave: what the kernel's page cache
  /// answered is not among them.
  public var reads: UInt64
  public var bytesRead: UInt64
  /// Reads that failed because the image is damaged, and the last failure's reason.
  public var failedReads: UInt64
  /// Write requests that were done, and their bytes.
  public var writes: UInt64
  public var bytesWritten: UInt64
  /// Writes and flushes that failed.
  public var failedWrites: UInt64
  public var lastFailure: String?
  /// Decoded blocks of compressed images.
  public var blockCache: DecodedBlocks
  /// What `--spill` keeps.
  public var spill: Spill?
  /// What is compressed around the image and its parents.
  public var containers: [Container]
  /// What `mount` and `info` noted when the image was opened.
  public var notes: [String]

  public struct DecodedBlocks: Codable, Sendable {
    /// How many bytes may be kept, and are.
    public var capacity: Int
    public var bytes: Int
    /// How often a read found its block decoded, or being decoded, and how often not.
    public var hits: UInt64
    public var misses: UInt64
    /// Blocks that were decoded before a read asked for them.
    public var ahead: UInt64

    init(_ figures: BlockCache.Figures) {
      capacity = figures.capacity
      bytes = figures.bytes
      hits = figures.hits
      misses = figures.misses
      ahead = figures.ahead
    }
  }

  public struct Spill: Codable, Sendable {
    /// How many bytes may be kept, and are.
    public var capacity: UInt64
    public var bytes: UInt64
    /// Reads that were answered from there, and their bytes.
    public var reads: UInt64
    public var bytesRead: UInt64
    /// Why nothing more is kept.
    public var failure: String?

    init(_ figures: SpillSpace.Figures) {
      capacity = figures.capacity
      bytes = figures.bytes
      reads = figures.reads
      bytesRead = figures.bytesRead
      failure = figures.failure
    }
  }

  public struct Container: Codable, Sendable {
    /// `gzip`, `xz`, …
    public var name: String
    /// The stored file.
    public var path: String
    /// In decoded bytes.
    public var size: UInt64
    /// Whether that is known to be true.
    public var sizeExact: Bool
    /// How many bytes its decoders gave, those too that nobody wanted.
    public var bytesDecoded: UInt64
    /// Where somebody waits for a place far in the stream: how far it is decoded, and how far it must
    /// be, where that is known.
    public var decoded: UInt64?
    public var target: UInt64?

    init(_ container: OpenedContainer) {
      name = container.name
      path = container.path
      size = container.size
      sizeExact = container.isSizeExact
      bytesDecoded = container.bytesDecoded
      let progress = container.progress
      decoded = progress?.decoded
      target = progress?.target
    }
  }
}
