/// What a builder lays out: a file's bytes and where they belong, with holes between them.
public struct BuiltFile: Sendable {
  public let size: UInt64
  public let pieces: [(at: UInt64, bytes: [UInt8])]

  public init(size: UInt64, pieces: [(at: UInt64, bytes: [UInt8])]) {
    self.size = size
    self.pieces = pieces
  }

  public func storage(path: String) -> MemoryStorage {
    MemoryStorage(size: size, pieces: pieces, path: path)
  }

  /// For files that are small enough.
  public var bytes: [UInt8] {
    var image = ImageBytes(count: Int(size))
    for piece in pieces { image.put(piece.bytes, at: Int(piece.at)) }
    return image.bytes
  }
}

/// What a disk holds that is made of blocks of one size, some of them stored.
///
/// - Parameter below: what the others hold: the disk below, zeros past its end.
public func blockContent(
  size: Int, blockSize: Int, stored: [Int: [UInt8]], below: [UInt8] = []
) -> [UInt8] {
  var result = [UInt8](below.prefix(size))
  result += [UInt8](repeating: 0, count: size - result.count)
  for (index, block) in stored {
    let start = index * blockSize
    for place in start..<min(size, start + blockSize) {
      result[place] = place - start < block.count ? block[place - start] : 0
    }
  }
  return result
}
