import DiskCore

/// Stored bytes in memory: pieces at their offsets, holes between them, so that a test can have a
/// file of 64 TiB.
public final class MemoryStorage: Storage {
  public let path: String
  public let size: UInt64
  public let modificationTime: (seconds: Int, nanoseconds: Int) = (1_000_000_000, 0)
  /// In order, not overlapping.
  private let pieces: [(at: UInt64, bytes: [UInt8])]

  public init(
    _ bytes: [UInt8], path: String = "memory.img"
  ) {
    pieces = bytes.isEmpty ? [] : [(at: UInt64(0), bytes: bytes)]
    size = UInt64(bytes.count)
    self.path = path
  }

  public init(
    size: UInt64, pieces: [(at: UInt64, bytes: [UInt8])], path: String = "memory.img"
  ) {
    self.pieces = pieces.filter { !$0.bytes.isEmpty }.sorted { $0.at < $1.at }
    self.size = size
    self.path = path
  }

  public func read(at offset: FileOffset, into buffer: inout MutableRawSpan) throws(DiskError) {
    let count = UInt64(buffer.byteCount)
    guard offset.bytes <= size, count <= size - offset.bytes else {
      throw DiskError(
        .truncated, "the file ends before the bytes that belong here", path: path,
        offset: offset.bytes)
    }
    buffer.withUnsafeMutableBytes { target in
      target.initializeMemory(as: UInt8.self, repeating: 0)
      for (at, bytes) in pieces {
        let from = max(at, offset.bytes)
        let to = min(at + UInt64(bytes.count), offset.bytes + count)
        guard from < to else { continue }
        target[Int(from - offset.bytes)..<Int(to - offset.bytes)].copyBytes(
          from: bytes[Int(from - at)..<Int(to - at)])
      }
    }
  }

  public func region(at offset: FileOffset, limit: UInt64) throws(DiskError) -> StorageRegion {
    for (at, bytes) in pieces where at + UInt64(bytes.count) > offset.bytes {
      if at > offset.bytes {
        return StorageRegion(isHole: true, length: min(limit, at - offset.bytes))
      }
      return StorageRegion(
        isHole: false, length: min(limit, at + UInt64(bytes.count) - offset.bytes))
    }
    return StorageRegion(isHole: true, length: min(limit, max(1, size - offset.bytes)))
  }

  public var allocatedBytes: UInt64 { pieces.reduce(0) { $0 + UInt64($1.bytes.count) } }
}

/// A layer that is its storage, byte for byte: what a flat image is.
public final class FlatLayer: ImageLayer {
  private let storage: any Storage

  public init(_ storage: any Storage) { self.storage = storage }

  public var size: UInt64 { storage.size }
  public var tableBytes: UInt64 { 0 }
  public var files: [any Storage] { [storage] }
  public var description: LayerDescription { LayerDescription(format: "flat") }

  public func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    Extent(.stored(storage, at: FileOffset(offset.bytes)), length: size - offset.bytes)
  }
}

extension Disk {
  /// A disk with these bytes.
  public static func holding(_ bytes: [UInt8]) throws -> Disk {
    try Disk(layers: [FlatLayer(MemoryStorage(bytes))])
  }

  /// A disk of `size` bytes with these pieces and zeros between them.
  public static func holding(
    size: UInt64, pieces: [(at: UInt64, bytes: [UInt8])]
  ) throws -> Disk {
    try Disk(layers: [FlatLayer(MemoryStorage(size: size, pieces: pieces))])
  }
}
