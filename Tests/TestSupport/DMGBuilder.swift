import Foundation

/// A DMG: chunks, then a property list or a resource fork with the block tables, then the trailer
/// (libmodi's "Mac OS disk image types").
public struct DMGBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public struct Chunk: Sendable {
    public var type: UInt32
    public var sectors: UInt64
    public var stored: [UInt8]
    /// What it reads as.
    public var content: [UInt8]
    /// In place of where it follows the one before it.
    public var sector: UInt64?
    public var offset: UInt64?
    public var length: UInt64?

    public init(_ type: UInt32, sectors: UInt64, stored: [UInt8] = [], content: [UInt8]? = nil) {
      self.type = type
      self.sectors = sectors
      self.stored = stored
      self.content =
        content ?? [UInt8](repeating: 0, count: Int(clamping: min(sectors, 4096) * 512))
    }

    public static func zero(_ sectors: UInt64) -> Chunk { Chunk(0, sectors: sectors) }
    public static func ignored(_ sectors: UInt64) -> Chunk { Chunk(2, sectors: sectors) }
    public static func raw(_ content: [UInt8]) -> Chunk { stored(1, content, content) }
    public static func adc(_ content: [UInt8]) -> Chunk {
      stored(0x8000_0004, CompressedBytes.adc(content), content)
    }
    public static func zlib(_ content: [UInt8]) -> Chunk {
      stored(0x8000_0005, CloopBuilder.zlib(content), content)
    }
    /// 512 letters A.
    public static let bzip2 = stored(
      0x8000_0006, CompressedBytes.Of512A.bzip2, [UInt8](repeating: 0x41, count: 512))
    public static let lzma = stored(
      0x8000_0008, CompressedBytes.Of512A.xz, [UInt8](repeating: 0x41, count: 512))
    public static let comment = Chunk(0x7FFF_FFFE, sectors: 0)

    public static func stored(_ type: UInt32, _ stored: [UInt8], _ content: [UInt8]) -> Chunk {
      Chunk(type, sectors: UInt64(content.count / 512), stored: stored, content: content)
    }
  }

  public struct Table: Sendable {
    public var name: String
    public var chunks: [Chunk]
    public var edit: Edit = { _ in }
    /// In place of where it follows the one before it.
    public var sector: UInt64?

    public init(_ name: String, _ chunks: [Chunk]) {
      self.name = name
      self.chunks = chunks
    }
  }

  /// Where the tables are.
  public enum Fork: Sendable { case propertyList, resourceFork, none }

  public var tables: [Table]
  public var fork = Fork.propertyList
  /// Whether the trailer stands at the file's start.
  public var trailerIsFirst = false
  /// The chunks are counted from here, as the trailer says, and from here, as each table does.
  public var dataForkOffset: UInt64 = 0
  public var tableDataOffset: UInt64 = 0
  public var editTrailer: Edit = { _ in }
  /// In place of the property list.
  public var propertyList: [UInt8]?

  public init(_ tables: [Table]) { self.tables = tables }

  public init(chunks: [Chunk]) { self.init([Table("whole disk", chunks)]) }

  /// What the disk reads as.
  public var content: [UInt8] { tables.flatMap { $0.chunks.flatMap(\.content) } }

  public var sectorCount: UInt64 {
    tables.reduce(0) { $0 + $1.chunks.reduce(0) { $0 &+ $1.sectors } }
  }

  public var bytes: [UInt8] {
    let head = Int(dataForkOffset) + (trailerIsFirst ? 512 : 0)
    let start = head + Int(tableDataOffset)
    var file = ImageBytes(count: start)
    var blobs: [(name: String, bytes: [UInt8])] = []
    var sums: [UInt8] = []
    var sector: UInt64 = 0
    for table in tables {
      let first = table.sector ?? sector
      let (blob, sum) = blob(table, first: first, dataFrom: start, &file)
      blobs.append((table.name, blob))
      sums += withUnsafeBytes(of: sum.bigEndian) { Array($0) }
      sector = first &+ table.chunks.reduce(0) { $0 &+ $1.sectors }
    }
    let dataEnd = file.count
    let list: [UInt8]
    switch fork {
    case .propertyList: list = propertyList ?? Self.propertyList(blobs)
    case .resourceFork: list = Self.resourceFork(blobs)
    case .none: list = []
    }
    var trailer = ImageBytes(count: 512)
    trailer.put("koly", at: 0)
    trailer.putBig(4 as UInt32, at: 4)
    trailer.putBig(512 as UInt32, at: 8)
    trailer.putBig(1 as UInt32, at: 12)
    trailer.putBig(UInt64(head), at: 24)
    trailer.putBig(UInt64(dataEnd - head), at: 32)
    if !list.isEmpty {
      trailer.putBig(UInt64(dataEnd), at: fork == .propertyList ? 216 : 40)
      trailer.putBig(UInt64(list.count), at: fork == .propertyList ? 224 : 48)
    }
    trailer.putBig(1 as UInt32, at: 56)
    trailer.putBig(1 as UInt32, at: 60)
    Self.put(GPTBuilder.crc32(file.bytes[head...]), at: 80, of: &trailer)
    Self.put(GPTBuilder.crc32(sums[...]), at: 352, of: &trailer)
    trailer.putBig(1 as UInt32, at: 488)
    trailer.putBig(sectorCount, at: 492)
    editTrailer(&trailer)
    file.put(list, at: file.count)
    file.put(trailer.bytes, at: trailerIsFirst ? 0 : file.count)
    return file.bytes
  }

  private func blob(
    _ table: Table, first: UInt64, dataFrom start: Int, _ file: inout ImageBytes
  ) -> (bytes: [UInt8], sum: UInt32) {
    var blob = ImageBytes(count: 204)
    blob.put("mish", at: 0)
    blob.putBig(1 as UInt32, at: 4)
    blob.putBig(first, at: 8)
    blob.putBig(table.chunks.reduce(0) { $0 &+ $1.sectors }, at: 16)
    blob.putBig(tableDataOffset, at: 24)
    let summed = table.chunks.filter { $0.type != 2 }.flatMap(\.content)
    let sum = GPTBuilder.crc32(summed[...])
    Self.put(sum, at: 64, of: &blob)
    blob.putBig(UInt32(table.chunks.count + 1), at: 200)
    var sector: UInt64 = 0
    for (index, chunk) in (table.chunks + [Chunk(0xFFFF_FFFF, sectors: 0)]).enumerated() {
      let entry = 204 + 40 * index
      blob.putBig(chunk.type, at: entry)
      blob.putBig(chunk.sector ?? sector, at: entry + 8)
      blob.putBig(chunk.sectors, at: entry + 16)
      blob.putBig(chunk.offset ?? UInt64(file.count - start), at: entry + 24)
      blob.putBig(chunk.length ?? UInt64(chunk.stored.count), at: entry + 32)
      file.put(chunk.stored, at: file.count)
      sector = (chunk.sector ?? sector) &+ chunk.sectors
    }
    table.edit(&blob)
    return (blob.bytes, sum)
  }

  private static func put(_ sum: UInt32, at offset: Int, of bytes: inout ImageBytes) {
    bytes.putBig(2 as UInt32, at: offset)
    bytes.putBig(32 as UInt32, at: offset + 4)
    bytes.putBig(sum, at: offset + 8)
  }

  /// As hdiutil writes it: 52 characters to a line.
  public static func propertyList(_ blobs: [(name: String, bytes: [UInt8])]) -> [UInt8] {
    var text = """
      <?xml version="1.0" encoding="UTF-8"?>
      <!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
      <plist version="1.0">
      <dict>
      \t<key>resource-fork</key>
      \t<dict>
      \t\t<key>blkx</key>
      \t\t<array>

      """
    for (index, blob) in blobs.enumerated() {
      var lines = ""
      var rest = Data(blob.bytes).base64EncodedString()[...]
      while !rest.isEmpty {
        lines += "\t\t\t\t\(rest.prefix(52))\n"
        rest = rest.dropFirst(52)
      }
      text += """
        \t\t\t<dict>
        \t\t\t\t<key>Attributes</key>
        \t\t\t\t<string>0x0050</string>
        \t\t\t\t<key>CFName</key>
        \t\t\t\t<string>\(blob.name)</string>
        \t\t\t\t<key>Data</key>
        \t\t\t\t<data>
        \(lines)\t\t\t\t</data>
        \t\t\t\t<key>ID</key>
        \t\t\t\t<string>\(index - 1)</string>
        \t\t\t\t<key>Name</key>
        \t\t\t\t<string>\(blob.name)</string>
        \t\t\t</dict>

        """
    }
    text += """
      \t\t</array>
      \t\t<key>plst</key>
      \t\t<array>
      \t\t</array>
      \t</dict>
      </dict>
      </plist>

      """
    return Array(text.utf8)
  }

  /// With a resource of another type before the tables (Inside Macintosh: More Macintosh Toolbox,
  /// "Resource File Format").
  public static func resourceFork(_ blobs: [(name: String, bytes: [UInt8])]) -> [UInt8] {
    var data = ImageBytes(count: 0)
    var places: [Int] = []
    for bytes in [[1, 2, 3]] + blobs.map(\.bytes) {
      places.append(data.count)
      data.putBig(UInt32(bytes.count), at: data.count)
      data.put(bytes, at: data.count)
    }
    var names = ImageBytes(count: 0)
    var references = ImageBytes(count: 0)
    for (index, place) in places.enumerated() {
      let entry = 12 * index
      references.putBig(UInt16(bitPattern: Int16(index - 1)), at: entry)
      references.putBig(UInt16(index == 0 ? 0xFFFF : names.count), at: entry + 2)
      references.putBig(UInt32(place), at: entry + 4)
      references.grow(to: entry + 12)
      if index > 0 {
        let name = Array(blobs[index - 1].name.utf8)
        names.put([UInt8(name.count)] + name, at: names.count)
      }
    }
    var map = ImageBytes(count: 28)
    map.putBig(28 as UInt16, at: 24)
    map.putBig(UInt16(28 + 18 + references.count), at: 26)
    map.putBig(1 as UInt16, at: 28)
    for (type, (name, range)) in [("plst", 0..<1), ("blkx", 1..<places.count)].enumerated() {
      map.put(name, at: 30 + 8 * type)
      map.putBig(UInt16(range.count - 1), at: 34 + 8 * type)
      map.putBig(UInt16(18 + 12 * range.lowerBound), at: 36 + 8 * type)
    }
    map.put(references.bytes, at: 46)
    map.put(names.bytes, at: map.count)
    var fork = ImageBytes(count: 256)
    fork.putBig(256 as UInt32, at: 0)
    fork.putBig(UInt32(256 + data.count), at: 4)
    fork.putBig(UInt32(data.count), at: 8)
    fork.putBig(UInt32(map.count), at: 12)
    fork.put(data.bytes, at: 256)
    fork.put(map.bytes, at: fork.count)
    return fork.bytes
  }
}
