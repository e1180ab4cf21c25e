public import DiskCore
internal import FileSystems
public import Partitions

/// What a mount shows of one disk: the disk, its partitions, and links to them by name.
public struct DiskFolder: Sendable {
  private let disk: Window
  private let table: PartitionTable

  public init(disk: Window, table: PartitionTable) {
    self.disk = disk
    self.table = table
  }

  /// `disk`, `p1` …, and the `by-` folders where there is a partition table to fill them.
  ///
  /// - Throws: `invalidRequest` where a partition does not lie inside the disk.
  public func items() throws(DiskError) -> [TreeItem] {
    var items = [TreeItem("disk", .file(disk))]
    var views: [(partition: Partition, window: Window)] = []
    for partition in table.partitions {
      let window = try disk.window(of: partition)
      views.append((partition, window))
      items.append(TreeItem(Self.name(of: partition), .file(window)))
    }
    guard table.kind != .none else { return items }
    let signatures = Lazy { [views] in
      views.map { ($0.partition, FileSystemSignature.find(in: $0.window)) }
    }
    let partitions = table.partitions
    return items + [
      Self.links("by-label") { () throws(DiskError) in
        try signatures.get().map { ($0.0, $0.1?.label) }
      },
      Self.links("by-uuid") { () throws(DiskError) in
        try signatures.get().map { ($0.0, $0.1?.uuid) }
      },
      Self.links("by-partlabel") { partitions.map { ($0, $0.name) } },
      Self.links("by-partuuid") { partitions.map { ($0, $0.uuid) } },
    ]
  }

  private static func name(of partition: Partition) -> String { "p\(partition.number)" }

  /// A folder of links to partitions. Of partitions that share a name the first has it; the others
  /// have it with their own number behind it.
  private static func links(
    _ folder: String,
    _ names: @escaping @Sendable () throws(DiskError) -> [(Partition, String?)]
  ) -> TreeItem {
    TreeItem(
      folder,
      .directory { () throws(DiskError) in
        var taken: Set<String> = []
        var items: [TreeItem] = []
        for (partition, label) in try names() {
          guard let label, var name = EntryName.escaping(label) else { continue }
          while !taken.insert(name).inserted { name += "-\(Self.name(of: partition))" }
          items.append(TreeItem(name, .link("../\(Self.name(of: partition))")))
        }
        return items
      })
  }
}
