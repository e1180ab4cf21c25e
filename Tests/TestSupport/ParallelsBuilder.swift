/// An expanding Parallels image laid out field by field from QEMU's docs/interop/parallels.txt, and
/// apart from the code under test.
public struct ParallelsBuilder: Sendable {
  public typealias Edit = @Sendable (inout ImageBytes) -> Void

  public var isExtended: Bool
  /// Of the disk, of 512 bytes.
  public var sectors: UInt64
  /// A cluster's size.
  public var clusterSectors: UInt32 = 2048
  /// By index, each up to a cluster long.
  public var clusters: [Int: [UInt8]] = [:]
  /// The stored clusters in the order in which the file has them; nil: ascending.
  public var order: [Int]?
  public var tableEntries: UInt32?
  /// 0x312e3276 when it was closed.
  public var inUse: UInt32 = 0x312E_3276
  public var editHeader: Edit = { _ in }
  public var editTable: Edit = { _ in }

  public init(extended: Bool, sectors: UInt64) {
    isExtended = extended
    self.sectors = sectors
  }

  public var clusterSize: Int { Int(clusterSectors) * 512 }

  private var needed: Int {
    Int((sectors + UInt64(clusterSectors) - 1) / UInt64(clusterSectors))
  }

  /// Where the first cluster starts: for extended images on a multiple of a cluster.
  public var dataOffset: UInt64 {
    let unit = isExtended ? UInt64(clusterSize) : 512
    return (64 + 4 * UInt64(needed) + unit - 1) / unit * unit
  }

  public var file: BuiltFile {
    var table = ImageBytes(count: 4 * needed)
    var pieces: [(at: UInt64, bytes: [UInt8])] = []
    var place = dataOffset
    for index in order ?? clusters.keys.sorted() {
      table.putLittle(UInt32(place / UInt64(isExtended ? clusterSize : 512)), at: 4 * index)
      if let cluster = clusters[index] { pieces.append((place, cluster)) }
      place += UInt64(clusterSize)
    }
    editTable(&table)
    var header = ImageBytes(count: 64)
    header.put(isExtended ? "WithouFreSpacExt" : "WithoutFreeSpace", at: 0)
    header.putLittle(2 as UInt32, at: 16)
    header.putLittle(16 as UInt32, at: 20)
    header.putLittle(UInt32(truncatingIfNeeded: sectors / 16 / 32), at: 24)
    header.putLittle(clusterSectors, at: 28)
    header.putLittle(tableEntries ?? UInt32(needed), at: 32)
    header.putLittle(sectors, at: 36)
    header.putLittle(inUse, at: 44)
    header.putLittle(UInt32(dataOffset / 512), at: 48)
    editHeader(&header)
    pieces += [(0, header.bytes), (64, table.bytes)]
    return BuiltFile(size: place, pieces: pieces)
  }

  /// What the virtual disk holds over `below`.
  public func content(over below: [UInt8] = []) -> [UInt8] {
    blockContent(
      size: Int(sectors) * 512, blockSize: clusterSize, stored: clusters, below: below)
  }
}

/// The text of a bundle's DiskDescriptor.xml, from QEMU's docs/interop/prl-xml.txt.
public struct ParallelsDescriptorBuilder: Sendable {
  public struct Image: Sendable {
    public var guid: String
    public var type: String
    public var file: String

    public init(_ guid: String, _ type: String, _ file: String) {
      self.guid = guid
      self.type = type
      self.file = file
    }
  }

  public struct Storage: Sendable {
    public var start: UInt64
    public var end: UInt64
    public var images: [Image]

    public init(_ start: UInt64, _ end: UInt64, _ images: [Image]) {
      self.start = start
      self.end = end
      self.images = images
    }
  }

  /// What machines write to.
  public static let top = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
  public static let none = "{00000000-0000-0000-0000-000000000000}"

  public var size: UInt64
  public var storages: [Storage]
  public var topGUID: String?
  public var shots: [(guid: String, parent: String)] = [(top, none)]
  public var padding = 0
  public var encryption = none
  public var documentType = ""

  public init(size: UInt64, _ storages: [Storage]) {
    self.size = size
    self.storages = storages
  }

  /// A GUID that holds `number`.
  public static func guid(_ number: Int) -> String {
    let digits = String(number)
    return "{0000000a-0000-0000-0000-"
      + String(repeating: "0", count: 12 - digits.count) + digits + "}"
  }

  public var text: String {
    var text = """
      <?xml version='1.0' encoding='UTF-8'?>\(documentType)
      <Parallels_disk_image Version="1.0">
          <Disk_Parameters>
              <Disk_size>\(size)</Disk_size>
              <Cylinders>4</Cylinders><Heads>16</Heads><Sectors>32</Sectors>
              <Padding>\(padding)</Padding>
              <Encryption><Engine>\(encryption)</Engine><Data></Data></Encryption>
          </Disk_Parameters>
          <StorageData>

      """
    for storage in storages {
      text += "<Storage><Start>\(storage.start)</Start><End>\(storage.end)</End>"
      text += "<Blocksize>2048</Blocksize>\n"
      for image in storage.images {
        text += "<Image><GUID>\(image.guid)</GUID><Type>\(image.type)</Type>"
        text += "<File>\(image.file)</File></Image>\n"
      }
      text += "</Storage>\n"
    }
    text += "</StorageData>\n<Snapshots>\n"
    if let topGUID { text += "<TopGUID>\(topGUID)</TopGUID>\n" }
    for shot in shots {
      text += "<Shot><GUID>\(shot.guid)</GUID><ParentGUID>\(shot.parent)</ParentGUID></Shot>\n"
    }
    return text + "</Snapshots>\n</Parallels_disk_image>\n"
  }
}
