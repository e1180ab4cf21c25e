internal import DiskCore
internal import Glibc
internal import ImageFormats
internal import MountTree
internal import Partitions

/// An open image as a mount shows it: what stands in its tree, and what there is to say about it.
struct MountedImage: Sendable {
  /// For the person who mounts: what is odd about image and table.
  let notes: [String]
  let owner: MountOwner
  private let request: MountRequest
  private let disk: Window
  private let table: PartitionTable
  /// What stands in a regular file's place.
  private let view: Window
  private let layer: LayerDescription
  private let snapshots: [DiskFolder.Snapshot]
  private let activity: MountActivity
  private let supervisor = getppid()
  private let started = time(nil)

  /// - Throws: `notFound` for a partition that does not exist, naming those that do.
  init(
    _ image: OpenImage, request: MountRequest, activity: MountActivity
  ) throws(DiskError) {
    self.request = request
    self.activity = activity
    disk = image.disk.whole
    table = try PartitionTable.read(from: disk, sectorSize: request.sectorSize)
    view =
      if let number = request.partition {
        try disk.window(of: try table.partition(number))
      } else {
        disk
      }
    layer = image.disk.layers[0].description
    snapshots = image.snapshots.map { snapshot in
      DiskFolder.Snapshot(snapshot.name) { () throws(DiskError) in
        let disk = try snapshot.open().whole
        return DiskFolder(
          disk: disk, table: try PartitionTable.read(from: disk, sectorSize: request.sectorSize))
      }
    }
    notes = image.notes + table.notes
    let modified = image.disk.files.first?.modificationTime ?? (seconds: 0, nanoseconds: 0)
    owner = MountOwner(
      user: geteuid(), group: getegid(),
      modified: timespec(tv_sec: modified.seconds, tv_nsec: modified.nanoseconds),
      allowsOthers: request.allowsOthers, diskSize: disk.size)
  }

  /// - Parameter device: the mounted file system's number in the kernel's mount table.
  func tree(device: String) -> MountTree {
    guard !request.inPlaceOfFile else { return MountTree(root: .file(view)) }
    let folder = DiskFolder(disk: disk, table: table, snapshots: snapshots)
    let report = TreeItem(
      "status.json",
      .report { Array((JSON.text(of: status(device: device), pretty: true) + "\n").utf8) })
    return MountTree(
      root: .directory { () throws(DiskError) in try folder.items() + [report] })
  }

  func status(device: String) -> MountStatus {
    MountStatus(
      mountPoint: request.mountPoint, device: device, image: request.image, format: layer.format,
      subformat: layer.subformat, virtualSize: disk.size, partitionTable: table.kind.rawValue,
      readOnly: true, cache: request.cache.rawValue, daemonPid: getpid(),
      supervisorPid: supervisor, mountedAt: started, reads: activity.reads,
      bytesRead: activity.bytesRead, failedReads: activity.failedReads,
      lastFailure: activity.lastFailure, notes: notes)
  }
}
