internal import DiskCore

/// The bytes of one file.
final class UDFContent: FileContent {
  let size: UInt64
  private let runs: UDFRuns
  private let space: UDFSpace
  /// Where its entry is, for errors.
  private let position: UInt64

  /// - Throws: `malformed` where its allocation descriptors cannot be followed.
  init(
    _ entry: UDFFileEntry, _ space: UDFSpace, mostRuns: Int = UDFAllocation.mostRuns
  ) throws(DiskError) {
    size = entry.size
    runs = try UDFAllocation(entry: entry, space: space, mostRuns: mostRuns).runs()
    position = entry.position
    self.space = space
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    guard offset.bytes < size else {
      throw space.volume.failure(.invalidRequest, "the file has \(size) bytes", position)
    }
    guard let (run, within) = runs.run(at: offset.bytes) else {
      let error = space.volume.failure(
        .malformed,
        "the file has \(size) bytes, and the places of only \(runs.length) are recorded", position)
      return Extent(.unreadable(error), length: size - offset.bytes)
    }
    let length = min(run.length - within, size - offset.bytes)
    switch run.content {
    case .zero:
      return Extent(.zero, length: length)
    case .inEntry(let start):
      return space.volume.volume.extent(at: DiskOffset(start + within), length: length)
    case .recorded(let address):
      return recorded(address, within, length)
    }
  }

  /// `length` bytes from `within` on of a run that starts at `address`.
  private func recorded(_ address: UDFAddress, _ within: UInt64, _ length: UInt64) -> Extent {
    let block = UInt32(clamping: UInt64(address.block) + within / space.blockSize)
    let inBlock = within % space.blockSize
    do throws(DiskError) {
      let row = try space.row(at: UDFAddress(block: block, partition: address.partition))
      return space.volume.volume.extent(
        at: DiskOffset(row.position + inBlock),
        length: min(length, row.blocks * space.blockSize - inBlock))
    } catch {
      let isAlone = space.hasSingleBlocks(address.partition)
      return Extent(
        .unreadable(error), length: isAlone ? min(length, space.blockSize - inBlock) : length)
    }
  }

  /// `count` bytes of metadata from `offset` on.
  ///
  /// - Throws: where not all of them can be read; `malformed` for more than `Limits.largestMetadataRead`.
  func reader(at offset: UInt64, count: Int) throws(DiskError) -> ByteReader {
    guard count >= 0, count <= Limits.largestMetadataRead, offset <= size,
      UInt64(count) <= size - offset
    else {
      throw space.volume.failure(
        .malformed, "\(count) bytes from byte \(offset) on of a file of \(size)", position)
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
      bytes += try piece(at: offset + UInt64(bytes.count), upTo: count - bytes.count)
    }
    return ByteReader(bytes, path: space.volume.volume.storage.path, base: place(of: offset))
  }

  /// At least one byte from `offset` on, and at most `count`, as far as they can be read.
  ///
  /// - Parameter offset: less than `size`.
  func beginning(at offset: UInt64, upTo count: Int) throws(DiskError) -> ByteReader {
    var bytes = try piece(at: offset, upTo: count)
    while bytes.count < count, offset + UInt64(bytes.count) < size,
      let more = try? piece(at: offset + UInt64(bytes.count), upTo: count - bytes.count)
    {
      bytes += more
    }
    return ByteReader(bytes, path: space.volume.volume.storage.path, base: place(of: offset))
  }

  /// The bytes of one extent, or of one block where the disc has a defect further on.
  private func piece(at offset: UInt64, upTo count: Int) throws(DiskError) -> [UInt8] {
    let extent = try extent(at: DiskOffset(offset), limit: UInt64(count))
    let length = Int(min(extent.length, UInt64(count)))
    switch extent.place {
    case .stored(_, let start):
      let block = Int(space.blockSize) - Int(start.bytes % space.blockSize)
      do throws(DiskError) {
        return try space.volume.reader(at: start.bytes, count: length).bytes
      } catch  where length > block {
        return try space.volume.reader(at: start.bytes, count: block).bytes
      }
    case .unreadable(let error):
      throw error
    default:
      return [UInt8](repeating: 0, count: length)
    }
  }

  /// Where in the volume a byte of the file is; its entry where it is stored nowhere.
  func place(of offset: UInt64) -> UInt64 {
    guard offset < size, let extent = try? extent(at: DiskOffset(offset), limit: 1),
      case .stored(_, let start) = extent.place
    else { return position }
    return start.bytes
  }
}
