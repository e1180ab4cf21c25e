public import DiskCore
public import FileSystems
public import Partitions

/// What a mount shows of one disk: the disk, its partitions, and links to them by name.
public struct DiskFolder: Sendable {
  /// An older state of the disk, opened once, when somebody first looks inside its folder.
  public struct Snapshot: Sendable {
    let name: String
    let folder: Lazy<DiskFolder>

    public init(_ name: String, open: @escaping @Sendable () throws(DiskError) -> DiskFolder) {
      self.name = name
      folder = Lazy(open)
    }
  }

  /// What the whole disk is called.
  public static let diskName = "disk"

  private let disk: Window
  private let table: PartitionTable
  private let snapshots: [Snapshot]
  private let options: FileSystemOptions

  /// - Parameter options: how the file systems inside are read.
  public init(
    disk: Window, table: PartitionTable, snapshots: [Snapshot] = [],
    options: FileSystemOptions = FileSystemOptions()
  ) {
    self.disk = disk
    self.table = table
    self.snapshots = snapshots
    self.options = options
  }

  /// `disk`, `p1` …, the `by-` folders where there is a partition table to fill them, `files`, and
  /// `snapshots` where there are any.
  ///
  /// - Throws: `invalidRequest` where a partition does not lie inside the disk.
  public func items() throws(DiskError) -> [TreeItem] {
    try views() + [files()] + (snapshots.isEmpty ? [] : [Self.folder(of: snapshots)])
  }

  /// A folder for each file system whose files can be read. What they are is looked at when somebody
  /// looks inside.
  private func files() throws(DiskError) -> TreeItem {
    var windows = [("disk", disk)]
    for partition in table.partitions {
      windows.append((Self.name(of: partition), try disk.window(of: partition)))
    }
    return TreeItem(
      "files",
      .directory { [windows, options] in
        windows.filter { FileSystemRegistry.reads($0.1) }
          .map { TreeItem($0.0, .files(FileTree(Volume($0.1, options: options)))) }
      })
  }

  private static func folder(of snapshots: [Snapshot]) -> TreeItem {
    TreeItem(
      "snapshots",
      .directory {
        var taken: Set<String> = []
        return snapshots.compactMap { snapshot in
          guard var name = EntryName.escaping(snapshot.name) else { return nil }
          // Snapshots have names of their own, but long ones are cut.
          while !taken.insert(name).inserted { name += "+" }
          return TreeItem(
            name, .directory { () throws(DiskError) in try snapshot.folder.get().items() })
        }
      })
  }

  private func views() throws(DiskError) -> [TreeItem] {
    var items = [TreeItem(Self.diskName, .file(disk))]
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

  /// What a partition is called.
  public static func name(of partition: Partition) -> String { "p\(partition.number)" }

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
