internal import DiskCore
internal import Glibc
internal import ImageFormats
internal import MountTree
internal import Partitions

/// An open image as a mount shows it: the tree, and what there is to say about it.
struct MountedImage: Sendable {
  let tree: MountTree
  let owner: MountOwner
  /// For the person who mounts: how the format was chosen, what is odd about image and table.
  let notes: [String]
  private let makeStatus: @Sendable () -> MountStatus

  var status: MountStatus { makeStatus() }

  /// - Throws: `notFound` for a partition that does not exist, naming those that do.
  init(
    _ image: OpenImage, request: MountRequest, activity: MountActivity
  ) throws(DiskError) {
    let disk = image.disk.whole
    let table = try PartitionTable.read(from: disk, sectorSize: request.sectorSize)
    let notes = image.notes + table.notes
    self.notes = notes
    let top = image.disk.layers[0].description
    let modified = image.disk.files.first?.modificationTime ?? (seconds: 0, nanoseconds: 0)
    owner = MountOwner(
      user: geteuid(), group: getegid(),
      modified: timespec(tv_sec: modified.seconds, tv_nsec: modified.nanoseconds),
      allowsOthers: request.allowsOthers, diskSize: disk.size)
    let started = time(nil)
    let supervisor = getppid()
    let makeStatus = { @Sendable in
      MountStatus(
        mountPoint: request.mountPoint, image: request.image, format: top.format,
        subformat: top.subformat, virtualSize: disk.size, partitionTable: table.kind.rawValue,
        readOnly: true, cache: request.cache.rawValue, daemonPid: getpid(),
        supervisorPid: supervisor, mountedAt: started, reads: activity.reads,
        bytesRead: activity.bytesRead, failedReads: activity.failedReads,
        lastFailure: activity.lastFailure, notes: notes)
    }
    self.makeStatus = makeStatus
    guard !request.inPlaceOfFile else {
      var view = disk
      if let number = request.partition {
        let partition = try table.partition(number)
        view = try disk.window(at: partition.start, size: partition.size)
      }
      tree = MountTree(root: .file(view))
      return
    }
    let folder = DiskFolder(disk: disk, table: table)
    tree = MountTree(
      root: .directory { () throws(DiskError) in
        try folder.items()
          + [
            TreeItem(
              "status.json",
              .report { Array((JSON.text(of: makeStatus(), pretty: true) + "\n").utf8) }
            )
          ]
      })
  }
}
