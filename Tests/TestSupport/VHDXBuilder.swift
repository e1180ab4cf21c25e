import DiskCore

/// A VHDX laid out field by field from [MS-VHDX], and apart from the code under test.
///
/// The file: header section, log at 1 MiB, metadata at 2 MiB, block table at 3 MiB, then blocks and
/// bitmaps.
public struct VHDXBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  /// Payload block states ([MS-VHDX] 2.5.1.1).
  public enum State: UInt64, Sendable, CaseIterable {
    case notPresent = 0
    case undefined = 1
    case zero = 2
    case unmapped = 3
    case fullyPresent = 6
    case partiallyPresent = 7
  }

  public static let unit: UInt64 = 1 << 20
  public static let logOffset = unit
  public static let metadataOffset = 2 * unit
  public static let tableOffset = 3 * unit
  public static let blockTableGUID = "2DC27766-F623-4200-9D64-115E9BFD4A08"
  public static let metadataGUID = "8B7CA206-4790-4B9A-B8FE-575F050F886E"
  public static let fileParametersGUID = "CAA16737-FA36-4D43-B3B6-33F0AA44E76B"
  public static let diskSizeGUID = "2FA54224-CD1B-4876-B211-5DBED83BF4B8"
  public static let diskIDGUID = "BECA12AB-B2E6-4523-93EF-C309E000C746"
  public static let logicalSectorGUID = "8141BF1D-A96F-4709-BA47-F233A8FAAB5F"
  public static let physicalSectorGUID = "CDA348C7-445D-4471-9CC9-E9885251C556"
  public static let parentLocatorGUID = "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C"
  public static let locatorType = "B04AEFB7-D19E-4A81-B789-25B8E9445913"

  /// In bytes: the virtual disk's.
  public var size: UInt64
  public var blockSize: UInt32 = 1 << 20
  public var sectorSize: UInt32 = 512
  public var physicalSectorSize: UInt32 = 4096
  public var leavesBlocksAllocated = false
  public var hasParent = false
  public var creator = "builder"
  /// By block, each up to a block long.
  public var blocks: [Int: [UInt8]] = [:]
  /// The sectors of a block that are this file's; a block without an entry is wholly so.
  public var ownedSectors: [Int: Set<Int>] = [:]
  /// States of blocks that are not stored.
  public var states: [Int: State] = [:]
  /// The stored blocks in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  public var dataWriteGUID = "11111111-2222-3333-4444-555555555555"
  public var identifier = "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE"
  public var logGUID = "00000000-0000-0000-0000-000000000000"
  public var logLength = unit
  public var logVersion: UInt16 = 0
  /// Keys and values of the parent locator, in order.
  public var locator: [(key: String, value: String)] = []
  /// The log's bytes, from its start.
  public var log: [UInt8] = []
  /// Cuts the file or makes it longer; nil: as long as its blocks need.
  public var fileSize: UInt64?
  /// Applied before the checksums are made.
  public var editHeaders: Edit = { _ in }
  public var editRegions: Edit = { _ in }
  /// Of the metadata's table.
  public var editMetadata: Edit = { _ in }
  /// Of its items, which start 64 KiB into the region.
  public var editItems: Edit = { _ in }
  public var editTable: Edit = { _ in }
  /// Applied after.
  public var damageFirstHeader: Edit = { _ in }
  public var damageSecondHeader: Edit = { _ in }
  public var damageFirstRegions: Edit = { _ in }
  public var damageSecondRegions: Edit = { _ in }

  public init(size: UInt64) { self.size = size }

  /// "2^23 times the logical sector size" by the block size.
  public var chunkRatio: Int { Int((UInt64(1) << 23) * UInt64(sectorSize) / UInt64(blockSize)) }
  public var blockCount: Int { Int((size + UInt64(blockSize) - 1) / UInt64(blockSize)) }
  public func tableIndex(ofBlock block: Int) -> Int { block + block / chunkRatio }
  public func tableIndex(ofBitmap chunk: Int) -> Int { chunk * (chunkRatio + 1) + chunkRatio }

  public var tableLength: UInt64 {
    let chunks = (blockCount + chunkRatio - 1) / chunkRatio
    return max(1, (UInt64(chunks * (chunkRatio + 1)) * 8 + Self.unit - 1) / Self.unit) * Self.unit
  }

  /// Where blocks start in the file.
  public var dataOffset: UInt64 { Self.tableOffset + tableLength }

  public var file: VHDBuilder.File {
    var entries: [(index: Int, value: UInt64)] = []
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var place = dataOffset
    for (block, state) in states { entries.append((tableIndex(ofBlock: block), state.rawValue)) }
    for block in order ?? blocks.keys.sorted() {
      guard let content = blocks[block] else { continue }
      let state = ownedSectors[block] == nil ? State.fullyPresent : .partiallyPresent
      entries.append((tableIndex(ofBlock: block), place | state.rawValue))
      pieces.append((place, content))
      place += UInt64(blockSize)
    }
    for (chunk, bits) in bitmaps {
      entries.append((tableIndex(ofBitmap: chunk), place | 6))
      pieces.append((place, bits))
      place += Self.unit
    }
    if leavesBlocksAllocated {
      place = max(place, dataOffset + UInt64(blockCount) * UInt64(blockSize))
    }
    pieces += tablePieces(entries) + headerSection + metadataPieces
    if !log.isEmpty { pieces.append((Self.logOffset, log)) }
    let size = fileSize ?? place
    return VHDBuilder.File(
      size: size,
      pieces: pieces.filter { $0.at < size }.map { piece in
        (piece.at, Array(piece.bytes.prefix(Int(min(UInt64(piece.bytes.count), size - piece.at)))))
      })
  }

  public func storage(path: String = "disk.vhdx") -> MemoryStorage { file.storage(path: path) }

  /// By chunk: a bit for each of its sectors, the first one in the lowest bit of the first byte.
  private var bitmaps: [(chunk: Int, bits: [UInt8])] {
    let perBlock = Int(blockSize / sectorSize)
    var result: [Int: [UInt8]] = [:]
    for (block, sectors) in ownedSectors {
      let chunk = block / chunkRatio
      var bits = result[chunk] ?? [UInt8](repeating: 0, count: Int(Self.unit))
      for sector in sectors {
        let bit = block % chunkRatio * perBlock + sector
        bits[bit / 8] |= 1 << (bit % 8)
      }
      result[chunk] = bits
    }
    return result.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// The parts of the table that hold something: it can be half a gigabyte.
  private func tablePieces(
    _ entries: [(index: Int, value: UInt64)]
  ) -> [(at: UInt64, bytes: [UInt8])] {
    if tableLength <= Self.unit {
      var table = ImageBytes(count: Int(tableLength))
      for entry in entries { table.putLittle(entry.value, at: entry.index * 8) }
      editTable(&table)
      return [(Self.tableOffset, table.bytes)]
    }
    return entries.map { entry in
      var bytes = ImageBytes(count: 8)
      bytes.putLittle(entry.value, at: 0)
      return (Self.tableOffset + UInt64(entry.index) * 8, bytes.bytes)
    }
  }

  private var headerSection: [(at: UInt64, bytes: [UInt8])] {
    var identifier = ImageBytes(count: 520)
    identifier.put("vhdxfile", at: 0)
    for (index, unit) in creator.utf16.enumerated() {
      identifier.putLittle(unit, at: 8 + 2 * index)
    }
    var (first, second) = (header(sequence: 7), header(sequence: 6))
    damageFirstHeader(&first)
    damageSecondHeader(&second)
    var regions = regionTable
    var copy = regions
    damageFirstRegions(&regions)
    damageSecondRegions(&copy)
    return [
      (0, identifier.bytes), (64 << 10, first.bytes), (128 << 10, second.bytes),
      (192 << 10, regions.bytes), (256 << 10, copy.bytes),
    ]
  }

  private func header(sequence: UInt64) -> ImageBytes {
    var header = ImageBytes(count: 4096)
    header.put("head", at: 0)
    header.putLittle(sequence, at: 8)
    header.put([UInt8](repeating: 0xF1, count: 16), at: 16)
    header.put(Self.guid(dataWriteGUID), at: 32)
    header.put(Self.guid(logGUID), at: 48)
    header.putLittle(logVersion, at: 64)
    header.putLittle(1 as UInt16, at: 66)
    header.putLittle(UInt32(logLength), at: 68)
    header.putLittle(Self.logOffset, at: 72)
    editHeaders(&header)
    Self.seal(&header)
    return header
  }

  private var regionTable: ImageBytes {
    var table = ImageBytes(count: 64 << 10)
    table.put("regi", at: 0)
    table.putLittle(2 as UInt32, at: 8)
    let regions = [
      (Self.blockTableGUID, Self.tableOffset, UInt32(tableLength)),
      (Self.metadataGUID, Self.metadataOffset, UInt32(Self.unit)),
    ]
    for (index, region) in regions.enumerated() {
      table.put(Self.guid(region.0), at: 16 + 32 * index)
      table.putLittle(region.1, at: 32 + 32 * index)
      table.putLittle(region.2, at: 40 + 32 * index)
      table.putLittle(1 as UInt32, at: 44 + 32 * index)
    }
    editRegions(&table)
    Self.seal(&table)
    return table
  }

  private var metadataPieces: [(at: UInt64, bytes: [UInt8])] {
    var parameters = ImageBytes(count: 8)
    parameters.putLittle(blockSize, at: 0)
    parameters.putLittle(
      UInt32((leavesBlocksAllocated ? 1 : 0) | (hasParent ? 2 : 0)), at: 4)
    // Flags: bit 1 "is virtual disk", bit 2 "is required".
    var items: [(guid: String, bytes: [UInt8], flags: UInt32)] = [
      (Self.fileParametersGUID, parameters.bytes, 4),
      (Self.diskSizeGUID, Self.little(size), 6),
      (Self.diskIDGUID, Self.guid(identifier), 6),
      (Self.logicalSectorGUID, Self.little(sectorSize), 6),
      (Self.physicalSectorGUID, Self.little(physicalSectorSize), 6),
    ]
    if !locator.isEmpty { items.append((Self.parentLocatorGUID, parentLocator, 4)) }
    var table = ImageBytes(count: 32)
    var content = ImageBytes(count: 0)
    table.put("metadata", at: 0)
    table.putLittle(UInt16(items.count), at: 10)
    for (index, item) in items.enumerated() {
      table.put(Self.guid(item.guid), at: 32 + 32 * index)
      table.putLittle(UInt32(65536 + content.count), at: 48 + 32 * index)
      table.putLittle(UInt32(item.bytes.count), at: 52 + 32 * index)
      table.putLittle(item.flags, at: 56 + 32 * index)
      table.putLittle(0 as UInt32, at: 60 + 32 * index)
      content.put(item.bytes, at: content.count)
    }
    editMetadata(&table)
    editItems(&content)
    return [(Self.metadataOffset, table.bytes), (Self.metadataOffset + 65536, content.bytes)]
  }

  private var parentLocator: [UInt8] {
    var bytes = ImageBytes(count: 20 + 12 * locator.count)
    bytes.put(Self.guid(Self.locatorType), at: 0)
    bytes.putLittle(UInt16(locator.count), at: 18)
    for (index, (key, value)) in locator.enumerated() {
      for (field, text) in [key, value].enumerated() {
        let encoded = VHDBuilder.utf16(text)
        bytes.putLittle(UInt32(bytes.count), at: 20 + 12 * index + 4 * field)
        bytes.putLittle(UInt16(encoded.count), at: 28 + 12 * index + 2 * field)
        bytes.put(encoded, at: bytes.count)
      }
    }
    return bytes.bytes
  }

  /// Sets the checksum at byte 4 of a header or table.
  public static func seal(_ bytes: inout ImageBytes, of structure: Range<Int>? = nil) {
    let range = structure ?? 0..<bytes.count
    bytes.putLittle(0 as UInt32, at: range.lowerBound + 4)
    bytes.putLittle(crc32c(bytes.bytes[range]), at: range.lowerBound + 4)
  }

  private static let crcTable: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in (value >> 1) ^ (value & 1) * 0x82F6_3B78 }
  }

  /// CRC-32C, a byte at a time.
  public static func crc32c(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    crcTable.withUnsafeBufferPointer { table in
      bytes.withUnsafeBufferPointer { bytes in
        var crc = ~UInt32(0)
        for index in 0..<bytes.count {
          crc = (crc >> 8) ^ table[Int((crc ^ UInt32(bytes[index])) & 0xFF)]
        }
        return ~crc
      }
    }
  }

  /// A GUID as it is stored: its first three groups little-endian.
  public static func guid(_ text: String) -> [UInt8] {
    let digits = Array(text.filter { $0 != "-" })
    let bytes = stride(from: 0, to: 32, by: 2).map {
      UInt8(String(digits[$0...$0 + 1]), radix: 16)!
    }
    return [3, 2, 1, 0, 5, 4, 7, 6].map { bytes[$0] } + bytes[8...]
  }

  private static func little(_ value: some FixedWidthInteger) -> [UInt8] {
    var bytes = ImageBytes(count: 0)
    bytes.putLittle(value, at: 0)
    return bytes.bytes
  }
}
