import DiskCore

/// A VHD laid out field by field from Microsoft's Virtual Hard Disk Image Format Specification 1.0,
/// and apart from the code under test.
public struct VHDBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public enum DiskType: UInt32, Sendable {
    case fixed = 2
    case dynamic = 3
    case differencing = 4
  }

  public var type: DiskType
  /// In bytes: the virtual disk's.
  public var size: UInt64
  public var creator = "win "
  public var blockSize: UInt32 = 2 << 20
  /// Nil: as many as the size needs.
  public var tableEntries: UInt32?
  /// By index, each up to a block long; a fixed disk's content in pieces of `blockSize`.
  public var blocks: [Int: [UInt8]] = [:]
  /// The allocated blocks in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  /// The sectors of a block whose bits are set, counted from the block's start; where there is no
  /// entry, those that `blocks` has bytes for.
  public var ownedSectors: [Int: Set<Int>] = [:]
  public var uuid = [UInt8](0xA0...0xAF)
  public var timestamp: UInt32 = 0x2A00_0000
  /// What a differencing disk says of its parent: the unique identifier and time stamp of that one's
  /// footer, and its name.
  public var parent: (uuid: [UInt8], timestamp: UInt32, name: String)?
  /// Parent locators: platform code and the bytes it leads to, which stand behind the table.
  public var locators: [(platform: String, data: [UInt8])] = []
  /// 511 where Virtual PC before 2004 wrote it.
  public var footerLength = 512
  public var geometry: (cylinders: UInt16, heads: UInt8, sectors: UInt8)?
  /// Applied before the checksums are made.
  public var editFooter: Edit = { _ in }
  public var editHeader: Edit = { _ in }
  public var editTable: Edit = { _ in }
  /// Applied after.
  public var damageFooter: Edit = { _ in }
  public var damageCopy: Edit = { _ in }
  public var damageHeader: Edit = { _ in }

  public init(_ type: DiskType, size: UInt64) {
    self.type = type
    self.size = size
  }

  /// The file's bytes and where they belong.
  public struct File: Sendable {
    public let size: UInt64
    public let pieces: [(at: UInt64, bytes: [UInt8])]

    public func storage(path: String = "disk.vhd") -> MemoryStorage {
      MemoryStorage(size: size, pieces: pieces, path: path)
    }

    /// For files that are small enough.
    public var bytes: [UInt8] {
      var image = ImageBytes(count: Int(size))
      for piece in pieces { image.put(piece.bytes, at: Int(piece.at)) }
      return image.bytes
    }
  }

  /// Where the dynamic header and the table are in `file`.
  public static let headerOffset = 512
  public static let tableOffset = 512 + 1024

  public var file: File {
    type == .fixed ? fixedFile : dynamicFile
  }

  private var fixedFile: File {
    var pieces = blocks.map { (at: UInt64($0.key) * UInt64(blockSize), bytes: $0.value) }
    var footer = footer()
    damageFooter(&footer)
    pieces.append((size, Array(footer.bytes.prefix(footerLength))))
    return File(size: size + UInt64(footerLength), pieces: pieces)
  }

  /// Footer's copy, dynamic header, table (padded to sectors), blocks, footer.
  private var dynamicFile: File {
    let needed = Int((size + UInt64(blockSize) - 1) / UInt64(blockSize))
    let entries = tableEntries.map { Int($0) } ?? needed
    // A table that only claims to be large is written as large as it needs to be.
    let tableBytes = (min(entries, needed) * 4 + 511) / 512 * 512
    var table = ImageBytes([UInt8](repeating: 0xFF, count: tableBytes))
    var place = UInt64(Self.tableOffset + tableBytes)
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var places: [UInt64] = []
    for locator in locators {
      pieces.append((place, locator.data))
      places.append(place)
      place += UInt64((locator.data.count + 511) / 512 * 512)
    }
    for index in order ?? blocks.keys.sorted() {
      guard let content = blocks[index] else { continue }
      table.putBig(UInt32(place / 512), at: index * 4)
      pieces.append((place, bitmap(index, content)))
      pieces.append((place + UInt64(bitmapBytes), content))
      place += UInt64(bitmapBytes) + UInt64(blockSize)
    }
    editTable(&table)
    var (footer, copy, header) = (footer(), footer(), header(UInt32(entries), places))
    damageFooter(&footer)
    damageCopy(&copy)
    damageHeader(&header)
    pieces += [
      (0, copy.bytes), (UInt64(Self.headerOffset), header.bytes),
      (UInt64(Self.tableOffset), table.bytes), (place, Array(footer.bytes.prefix(footerLength))),
    ]
    return File(size: place + UInt64(footerLength), pieces: pieces)
  }

  /// "The sector bitmap is padded to a 512-byte sector boundary."
  public var bitmapBytes: Int { max(512, Int(blockSize) / 512 / 8) }

  /// A bit for each sector that holds data, the first one in the top bit.
  private func bitmap(_ index: Int, _ content: [UInt8]) -> [UInt8] {
    var bits = [UInt8](repeating: 0, count: bitmapBytes)
    for sector in ownedSectors[index] ?? Set(0..<(content.count + 511) / 512) {
      bits[sector / 8] |= 0x80 >> (sector % 8)
    }
    return bits
  }

  private func footer() -> ImageBytes {
    var footer = ImageBytes(count: 512)
    footer.put("conectix", at: 0)
    footer.putBig(2 as UInt32, at: 8)  // features: the reserved bit that is always set
    footer.putBig(0x0001_0000 as UInt32, at: 12)
    footer.putBig(type == .fixed ? UInt64.max : UInt64(Self.headerOffset), at: 16)
    footer.putBig(timestamp, at: 24)
    footer.put(creator, at: 28)
    footer.putBig(0x0006_0001 as UInt32, at: 32)
    footer.put("Wi2k", at: 36)
    footer.putBig(size, at: 40)
    footer.putBig(size, at: 48)
    let (cylinders, heads, sectors) = geometry ?? Self.geometry(of: size)
    footer.putBig(cylinders, at: 56)
    footer.put([heads, sectors], at: 58)
    footer.putBig(type.rawValue, at: 60)
    footer.put(uuid, at: 68)
    editFooter(&footer)
    Self.seal(&footer, at: 64)
    return footer
  }

  private func header(_ entries: UInt32, _ locatorPlaces: [UInt64]) -> ImageBytes {
    var header = ImageBytes(count: 1024)
    header.put("cxsparse", at: 0)
    header.putBig(UInt64.max, at: 8)
    header.putBig(UInt64(Self.tableOffset), at: 16)
    header.putBig(0x0001_0000 as UInt32, at: 24)
    header.putBig(entries, at: 28)
    header.putBig(blockSize, at: 32)
    if let parent {
      header.put(parent.uuid, at: 40)
      header.putBig(parent.timestamp, at: 56)
      for (index, unit) in parent.name.utf16.enumerated() {
        header.putBig(unit, at: 64 + 2 * index)
      }
    }
    for (index, locator) in locators.enumerated() {
      header.put(locator.platform, at: 576 + 24 * index)
      header.putBig(UInt32((locator.data.count + 511) / 512 * 512), at: 576 + 24 * index + 4)
      header.putBig(UInt32(locator.data.count), at: 576 + 24 * index + 8)
      header.putBig(locatorPlaces[index], at: 576 + 24 * index + 16)
    }
    editHeader(&header)
    Self.seal(&header, at: 36)
    return header
  }

  /// "A one's complement of the sum of all the bytes in the footer without the checksum field."
  ///
  /// - Parameter structure: what the checksum is of; nil for all of `bytes`.
  public static func seal(_ bytes: inout ImageBytes, at field: Int, of structure: Range<Int>? = nil)
  {
    bytes.putBig(0 as UInt32, at: field)
    let summed = bytes.bytes[structure ?? 0..<bytes.count]
    bytes.putBig(~summed.reduce(0 as UInt32) { $0 + UInt32($1) }, at: field)
  }

  /// UTF-16, little-endian, as `W2ru` and `W2ku` have it.
  public static func utf16(_ text: String) -> [UInt8] {
    text.utf16.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
  }

  /// The specification's appendix, "CHS Calculation".
  static func geometry(of size: UInt64) -> (cylinders: UInt16, heads: UInt8, sectors: UInt8) {
    let total = min(size / 512, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63 { return (UInt16(total / 255 / 16), 16, 255) }
    var sectors: UInt64 = 17
    var tracks = total / sectors
    var heads = max(4, (tracks + 1023) / 1024)
    if tracks >= heads * 1024 || heads > 16 { (sectors, heads, tracks) = (31, 16, total / 31) }
    if tracks >= heads * 1024 { (sectors, heads, tracks) = (63, 16, total / 63) }
    return (UInt16(tracks / heads), UInt8(heads), UInt8(sectors))
  }
}
