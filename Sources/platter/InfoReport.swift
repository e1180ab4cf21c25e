internal import DiskCore
internal import FileSystems
internal import ImageFormats
internal import Partitions

/// What `info --json` prints. A field never changes its meaning; absent fields are unknown.
struct InfoReport: Encodable {
  struct Layer: Encodable {
    let path: String
    let format: String
    let subformat: String?
    /// In bytes.
    let virtualSize: UInt64
    /// What the layer's files occupy, in bytes.
    let storedSize: UInt64
    let details: [String: String]
    /// What is around the image in its file, outermost first; absent where nothing is.
    let containers: [Container]?
  }

  /// Compression around an image.
  struct Container: Encodable {
    /// `gzip`, `xz`, …
    let format: String
    /// In bytes, decoded.
    let size: UInt64
    /// Whether that is certain.
    let sizeExact: Bool
    let details: [String: String]
  }

  struct FileSystem: Encodable {
    /// As `blkid` names it.
    let type: String
    let label: String?
    let uuid: String?

    init?(in window: Window?) {
      guard let signature = window.flatMap({ FileSystemSignature.find(in: $0) }) else { return nil }
      type = signature.type
      label = signature.label
      uuid = signature.uuid
    }
  }

  struct Entry: Encodable {
    let number: Int
    /// In bytes, from the start of the disk.
    let start: UInt64
    let size: UInt64
    /// MBR: two hexadecimal digits; GPT: a GUID.
    let type: String
    let typeName: String?
    let name: String?
    let uuid: String?
    let bootable: Bool
    let fileSystem: FileSystem?
  }

  struct Snapshot: Encodable {
    /// As `--snapshot` takes it.
    let name: String
    /// `inside` the image, or `parent`: an image further down the chain.
    let kind: String
    /// The format's own number for it.
    let identifier: String?
    /// In seconds since 1970.
    let created: Int?
  }

  let version = 1
  let path: String
  let format: String
  let subformat: String?
  let virtualSize: UInt64
  /// In bytes: the unit of the partition table's addresses.
  let sectorSize: UInt64
  /// Top first.
  let chain: [Layer]
  let snapshots: [Snapshot]
  /// `mbr`, `gpt` or `none`.
  let partitionTable: String
  let partitionTableUuid: String?
  let partitions: [Entry]
  /// Of the whole disk, where it has no partition table (and of an ISO image, which can have one).
  let fileSystem: FileSystem?
  let notes: [String]

  init(_ image: OpenImage, _ table: PartitionTable) {
    let top = image.disk.layers[0].description
    path = image.path
    format = top.format
    subformat = top.subformat
    virtualSize = image.disk.size
    sectorSize = table.sectorSize
    chain = zip(image.disk.layers, image.paths).map { layer, path in
      let description = layer.description
      return Layer(
        path: path, format: description.format,
        subformat: description.subformat, virtualSize: layer.size,
        storedSize: layer.files.reduce(0) { $0 + $1.allocatedBytes },
        details: Dictionary(description.details.map { ($0.name, $0.value) }) { first, _ in first },
        containers: Self.containers(image.containers.filter { $0.path == path }))
    }
    snapshots = image.snapshots.map { snapshot in
      Snapshot(
        name: snapshot.name, kind: snapshot.kind.rawValue, identifier: snapshot.identifier,
        created: snapshot.created)
    }
    partitionTable = table.kind.rawValue
    partitionTableUuid = table.identifier
    let disk = image.disk.whole
    partitions = table.partitions.map { partition in
      Entry(
        number: partition.number, start: partition.start.bytes, size: partition.size,
        type: partition.type, typeName: partition.typeName, name: partition.name,
        uuid: partition.uuid, bootable: partition.isBootable,
        fileSystem: FileSystem(in: try? disk.window(of: partition)))
    }
    fileSystem = FileSystem(in: disk)
    notes = [image.remark].compactMap(\.self) + image.notes + table.notes
  }

  private static func containers(_ opened: [OpenedContainer]) -> [Container]? {
    guard !opened.isEmpty else { return nil }
    return opened.map { container in
      Container(
        format: container.name, size: container.size, sizeExact: container.isSizeExact,
        details: Dictionary(container.facts.map { ($0.name, $0.value) }) { first, _ in first })
    }
  }
}
