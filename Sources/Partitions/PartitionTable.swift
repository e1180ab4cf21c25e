public import DiskCore

/// A partition table as read from a disk.
public struct PartitionTable: Sendable {
  public enum Kind: String, Sendable {
    case mbr
    case gpt
    /// No table: the disk is one file system, or something unknown.
    case none
  }

  public var kind: Kind
  /// In bytes: what one unit of the table's addresses is. 512 where there is no table to tell.
  public var sectorSize: UInt64
  /// The disk's own identifier: a GUID for GPT, eight hexadecimal digits for MBR, as `blkid`
  /// prints PTUUID.
  public var identifier: String?
  /// In the order of their numbers.
  public var partitions: [Partition]
  /// What a person should know: the backup header was used, entries that were left out and why.
  public var notes: [String]

  public init(
    kind: Kind, sectorSize: UInt64 = 512, identifier: String? = nil, partitions: [Partition] = [],
    notes: [String] = []
  ) {
    self.kind = kind
    self.sectorSize = sectorSize
    self.identifier = identifier
    self.partitions = partitions
    self.notes = notes
  }
}

/// One entry of a partition table. It lies wholly inside its disk.
public struct Partition: Sendable {
  /// As the Linux kernel numbers it: logical partitions from 5, gaps kept.
  public var number: Int
  public var start: DiskOffset
  /// In bytes; at least one sector.
  public var size: UInt64
  /// MBR: two hexadecimal digits (`0c`). GPT: the type GUID in lower case.
  public var type: String
  /// The type in words, where it is a known one.
  public var typeName: String?
  /// GPT's partition name; nil for MBR or where it is empty.
  public var name: String?
  /// As `blkid` prints PARTUUID.
  public var uuid: String?
  /// Whether the table marks it as the one to boot from.
  public var isBootable: Bool

  public init(
    number: Int, start: DiskOffset, size: UInt64, type: String, typeName: String? = nil,
    name: String? = nil, uuid: String? = nil, isBootable: Bool = false
  ) {
    self.number = number
    self.start = start
    self.size = size
    self.type = type
    self.typeName = typeName
    self.name = name
    self.uuid = uuid
    self.isBootable = isBootable
  }
}

extension Window {
  /// The part of this disk that `partition` is.
  ///
  /// - Throws: `invalidRequest` where it does not lie inside the disk.
  public func window(of partition: Partition) throws(DiskError) -> Window {
    try window(at: partition.start, size: partition.size)
  }
}
