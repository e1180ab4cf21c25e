internal import DiskCore

/// What a VHDX says of its disk: sizes, identifier, parent ([MS-VHDX] 2.6).
struct VHDXMetadata: Sendable {
  private static let mostEntries = 2047
  private static let largestItem: UInt64 = 1 << 20
  /// Items start behind the table, which is this long.
  private static let tableBytes: UInt64 = 64 << 10

  static let largestDisk: UInt64 = 64 << 40
  static let blockSizes: ClosedRange<UInt32> = 1 << 20...256 << 20

  private enum Item: String {
    case fileParameters = "caa16737-fa36-4d43-b3b6-33f0aa44e76b"
    case virtualDiskSize = "2fa54224-cd1b-4876-b211-5dbed83bf4b8"
    case virtualDiskID = "beca12ab-b2e6-4523-93ef-c309e000c746"
    case logicalSectorSize = "8141bf1d-a96f-4709-ba47-f233a8faab5f"
    case physicalSectorSize = "cda348c7-445d-4471-9cc9-e9885251c556"
    case parentLocator = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c"
  }

  /// In bytes: a power of two.
  let blockSize: UInt64
  /// A fixed disk: every block stays allocated.
  let leavesBlocksAllocated: Bool
  let hasParent: Bool
  /// In bytes: a multiple of `sectorSize`.
  let size: UInt64
  /// Logical, in bytes: 512 or 4,096.
  let sectorSize: UInt32
  /// Nil where the image does not say.
  let physicalSectorSize: UInt32?
  let identifier: String?
  /// Of a differencing disk.
  let parentLocator: ByteReader?

  /// - Throws: `malformed` for a table that contradicts the specification, `unsupported` for an item
  ///   that has to be understood and is not known, `truncated` where the region ends early.
  init(_ source: any Storage, in region: Range<UInt64>) throws(DiskError) {
    let items = try Self.table(source, region)
    let wanted = { (item: Item, count: Int) throws(DiskError) -> ByteReader in
      guard let reader = try Self.read(item, of: items, source, region, atLeast: count) else {
        throw DiskError(
          .malformed, "the metadata have no item \(item.rawValue), which is required",
          path: source.path, offset: region.lowerBound)
      }
      return reader
    }
    let parameters = try wanted(.fileParameters, 8)
    let blockSize = try parameters.u32(at: 0)
    guard Self.blockSizes.contains(blockSize), blockSize.nonzeroBitCount == 1 else {
      throw DiskError(
        .malformed,
        "a block size of \(blockSize) bytes; it must be a power of two from 1 to 256 MiB",
        path: source.path, offset: parameters.base)
    }
    self.blockSize = UInt64(blockSize)
    let flags = try parameters.u32(at: 4)
    leavesBlocksAllocated = flags & 1 == 1
    hasParent = flags & 2 == 2
    let sector = try wanted(.logicalSectorSize, 4)
    sectorSize = try sector.u32(at: 0)
    guard sectorSize == 512 || sectorSize == 4096 else {
      throw DiskError(
        .malformed, "logical sectors of \(sectorSize) bytes; there are 512 and 4096",
        path: source.path, offset: sector.base)
    }
    let total = try wanted(.virtualDiskSize, 8)
    size = try total.u64(at: 0)
    guard size <= Self.largestDisk, size % UInt64(sectorSize) == 0 else {
      throw DiskError(
        .malformed,
        "a disk of \(size) bytes; it must be whole sectors of \(sectorSize) and at most 64 TiB",
        path: source.path, offset: total.base)
    }
    physicalSectorSize = try Self.read(
      .physicalSectorSize, of: items, source, region, atLeast: 4)?.u32(at: 0)
    identifier = try Self.read(.virtualDiskID, of: items, source, region, atLeast: 16)?.guid(at: 0)
    parentLocator = hasParent ? try wanted(.parentLocator, 20) : nil
  }

  /// Where the known items are in the file.
  private static func table(
    _ source: any Storage, _ region: Range<UInt64>
  ) throws(DiskError) -> [Item: Range<UInt64>] {
    let start = FileOffset(region.lowerBound)
    guard region.upperBound - region.lowerBound >= tableBytes else {
      throw DiskError(
        .malformed, "the metadata region is empty", path: source.path, offset: start.bytes)
    }
    let header = try source.reader(at: start, count: 32)
    guard header.matches("metadata", at: 0) else {
      throw DiskError(
        .malformed, "no metadata where the region table says they are", path: source.path,
        offset: start.bytes)
    }
    let count = Int(try header.u16(at: 10))
    guard count <= mostEntries else {
      throw DiskError(
        .malformed, "a metadata table of \(count) entries; there can be \(mostEntries)",
        path: source.path, offset: start.bytes + 10)
    }
    let entries = try source.reader(at: start + 32, count: 32 * count)
    var found: [Item: Range<UInt64>] = [:]
    for entry in stride(from: 0, to: 32 * count, by: 32) {
      let place = entries.base + UInt64(entry)
      let guid = try entries.guid(at: entry)
      let flags = try entries.u32(at: entry + 24)
      // A user's item (bit 0) may have any identifier.
      guard let item = flags & 1 == 0 ? Item(rawValue: guid) : nil else {
        // Bit 2: must be understood.
        guard flags & 4 == 0 else {
          throw DiskError(
            .unsupported,
            "has a metadata item \(guid) that is required to read it and is not known",
            path: source.path, offset: place)
        }
        continue
      }
      let offset = UInt64(try entries.u32(at: entry + 16))
      let length = UInt64(try entries.u32(at: entry + 20))
      guard offset >= tableBytes, length <= largestItem,
        offset + length <= region.upperBound - region.lowerBound
      else {
        throw DiskError(
          .malformed,
          "a metadata item of \(length) bytes at \(offset) does not lie in the metadata region",
          path: source.path, offset: place + 16)
      }
      let range = region.lowerBound + offset..<region.lowerBound + offset + length
      guard found.updateValue(range, forKey: item) == nil else {
        throw DiskError(
          .malformed, "the metadata item \(guid) is there twice", path: source.path, offset: place)
      }
    }
    return found
  }

  private static func read(
    _ item: Item, of items: [Item: Range<UInt64>], _ source: any Storage, _ region: Range<UInt64>,
    atLeast count: Int
  ) throws(DiskError) -> ByteReader? {
    guard let range = items[item] else { return nil }
    guard range.count >= count else {
      throw DiskError(
        .malformed, "the metadata item \(item.rawValue) has \(range.count) bytes, not \(count)",
        path: source.path, offset: range.lowerBound)
    }
    // Only the parent locator is as long as its entry says.
    let length = item == .parentLocator ? range.count : count
    return try source.reader(at: FileOffset(range.lowerBound), count: length)
  }
}
