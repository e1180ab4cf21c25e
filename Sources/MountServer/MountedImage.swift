internal import DiskCore
internal import Dispatch
internal import FileSystems
internal import Glibc
internal import ImageFormats
internal import MountTree
internal import Partitions
internal import Synchronization

/// An open image as a mount shows it: what stands in its tree, and what there is to say about it.
final class MountedImage: Sendable {
  /// For the person who mounts: what is odd about image and table.
  let notes: [String]
  private let image: OpenImage
  let owner: MountOwner
  let tree: MountTree
  private let request: MountRequest
  private let source: WritableDisk
  /// What is shown, with its table as it was seen at the look of that number.
  private let shown: Display
  private let looks = Atomic<Int>(0)
  /// One at a time corrects sizes.
  private let correcting = DispatchSemaphore(value: 1)
  private let layer: LayerDescription
  /// The image's own states.
  private let snapshots: [DiskFolder.Snapshot]
  /// Those of the changes; nil where they are not kept in an overlay.
  let overlaySnapshots: OverlaySnapshots?
  private let activity: MountActivity
  private let blocks: BlockCache
  private let spill: SpillSpace?
  private let containers: [OpenedContainer]
  /// The mounted file system's number in the kernel's mount table; empty before it is mounted.
  private let device = Mutex("")
  private let supervisor = getppid()
  private let started = time(nil)

  private final class Display: Sendable {
    struct State: Sendable {
      var disk: Window
      var table: PartitionTable
      var look = 0
      /// What is odd about the disk since its size was corrected; nil before that.
      var notes: [String]?
    }

    private let state: Mutex<State>

    init(_ disk: Window, _ table: PartitionTable) {
      state = Mutex(State(disk: disk, table: table))
    }

    var now: State { state.withLock { $0 } }

    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }
  }

  private var disk: Window { shown.now.disk }

  /// - Throws: `notFound` for a partition that does not exist, naming those that do; what keeps the
  ///   image from being written to, where it is to be.
  init(
    _ image: OpenImage, request: MountRequest, activity: MountActivity
  ) throws(DiskError) {
    self.request = request
    self.activity = activity
    blocks = image.blocks
    spill = image.spill
    spill?.whenItFails { activity.didRefuse("nothing more is kept by --spill: \($0)") }
    containers = image.containers
    self.image = image
    let source = try WritableDisk(image, request: request)
    self.source = source
    let disk = source.disk.whole
    let table: PartitionTable
    do throws(DiskError) {
      table = try PartitionTable.read(from: disk, sectorSize: request.sectorSize)
      overlaySnapshots =
        if let overlay = source.changes {
          try OverlaySnapshots(
            overlay, disk: source.disk, base: image.disk
          ) { (disk) throws(DiskError) in try DiskFolder(disk, as: request) }
        } else {
          nil
        }
    } catch {
      source.abandon()
      throw error
    }
    layer = image.disk.layers[0].description
    var snapshots = image.snapshots.map { snapshot in
      DiskFolder.Snapshot(snapshot.name) { () throws(DiskError) in
        let disk = try snapshot.open().whole
        return try DiskFolder(disk, as: request)
      }
    }
    if source.disk !== image.disk, request.changes != .inPlace {
      let base = image.disk.whole
      snapshots.append(
        DiskFolder.Snapshot(PathParts(image.path).name) { () throws(DiskError) in
          try DiskFolder(base, as: request)
        })
    }
    self.snapshots = snapshots
    var files: FileTree? = nil
    if request.showsFiles {
      let volume = try table.readableVolume(of: disk, partition: request.partition)
      files = FileTree(Volume(volume, options: request.fileOptions))
    }
    // What is wrong with it is told now, not at the first look.
    notes = image.notes + source.notes + table.notes + (try files?.fileSystem().notes ?? [])
    let modified = image.disk.files.first?.modificationTime ?? (seconds: 0, nanoseconds: 0)
    var lastWrite: (@Sendable () -> Int)? = nil
    if source.disk.isWritable { lastWrite = { activity.lastWrite } }
    let shown = Display(disk, table)
    self.shown = shown
    owner = MountOwner(
      user: geteuid(), group: getegid(),
      modified: timespec(tv_sec: modified.seconds, tv_nsec: modified.nanoseconds),
      lastWrite: lastWrite,
      allowsOthers: request.allowsOthers, diskSize: { shown.now.disk.size })
    if request.inPlaceOfFile {
      // What stands in the regular file's place.
      let view =
        if let number = request.partition {
          try disk.window(of: try table.partition(number))
        } else {
          disk
        }
      tree = MountTree(root: .file(view))
    } else if let files {
      tree = MountTree(root: .files(files))
    } else {
      tree = MountTree(root: .directory { [] })
    }
    showTable()
  }

  func setDevice(_ number: String) { device.withLock { $0 = number } }

  /// Something was written and its file closed: the partitions can be others now.
  func contentChanged() {
    guard !request.inPlaceOfFile, !request.showsFiles else { return }
    let number = looks.add(1, ordering: .relaxed).newValue
    guard let table = try? PartitionTable.read(from: disk, sectorSize: request.sectorSize) else {
      return
    }
    // Of several that look at once, the one that began last has seen what all of them wrote.
    shown.change { seen in
      guard number > seen.look else { return }
      seen.table = table
      seen.look = number
    }
    showTable()
  }

  /// Whether no size that is shown is a guess.
  var isSizeCertain: Bool { containers.allSatisfy(\.isSizeExact) }

  /// From now on what is shown gets its true size once that is found out.
  ///
  /// - Parameter told: takes the inodes that have another size than they had; called on a thread that serves
  ///   requests.
  func correctSizes(_ told: @escaping @Sendable ([UInt64]) -> Void) {
    for container in containers {
      container.whenSizeIsFound { [weak self] in self?.correctSize(told) }
    }
    correctSize(told)
  }

  /// The compressed stream's end can have been found, and not where it was thought to be.
  private func correctSize(_ told: ([UInt64]) -> Void) {
    // Who came to the end beside somebody else goes on when that one has corrected what is shown.
    correcting.wait()
    defer { correcting.signal() }
    guard !source.disk.isWritable, let disk = try? image.corrected()?.whole,
      let table = try? PartitionTable.read(from: disk, sectorSize: request.sectorSize)
    else { return }
    let guesses = containers.flatMap(\.guesses)
    shown.change { shown in
      shown.disk = disk
      shown.table = table
      shown.notes = image.notes.filter { !guesses.contains($0) } + source.notes + table.notes
    }
    var windows = [(name: DiskFolder.diskName, window: disk)]
    if let number = request.partition, request.inPlaceOfFile {
      windows = []
      if let partition = try? table.partition(number), let view = try? disk.window(of: partition) {
        windows = [("", view)]
      }
    } else {
      for partition in table.partitions {
        guard let view = try? disk.window(of: partition) else { continue }
        windows.append((DiskFolder.name(of: partition), view))
      }
    }
    let corrected = (try? tree.correct(windows)) ?? []
    showTable()
    told(corrected)
  }

  /// The disk was put back to what it was at another time.
  func contentWasReplaced() {
    activity.didChange()
    contentChanged()
  }

  /// Some came or went: they are listed again when somebody looks.
  func snapshotsChanged() { showTable() }

  /// The names in the mount's root folder of those of `nodes` that have one; an empty one for the single
  /// view of a mount in a regular file's place.
  func names(of nodes: [UInt64]) -> [String] {
    if request.inPlaceOfFile { return nodes.contains(MountTree.rootID) ? [""] : [] }
    return rootEntries.filter { nodes.contains($0.node.id) }.map(\.name)
  }

  /// Whether a view can be opened by a name.
  func hasName(_ node: UInt64) -> Bool {
    node == MountTree.rootID || rootEntries.contains { $0.node.id == node }
  }

  private var rootEntries: [Node.Entry] {
    guard case .directory(let entries) = tree.node(MountTree.rootID)?.content else { return [] }
    return (try? entries.get()) ?? []
  }

  /// Folders are listed again when somebody looks; what shows the same as before keeps its inode.
  private func showTable() {
    guard !request.inPlaceOfFile, !request.showsFiles else { return }
    tree.replaceRoot { [weak self] () throws(DiskError) in
      guard let self else { return [] }
      let now = shown.now
      let folder = DiskFolder(
        disk: now.disk, table: now.table,
        // Behind those that stay, whose names stay the same so.
        snapshots: snapshots + (overlaySnapshots?.folders ?? []), options: request.fileOptions)
      return try folder.items() + [
        TreeItem(
          "status.json",
          .report { [weak self] in
            self.map { Array((JSON.text(of: $0.status, pretty: true) + "\n").utf8) } ?? []
          })
      ]
    }
  }

  /// What was found out since the image was opened.
  private var containerNotes: [String] {
    containers.flatMap(\.notes).filter { !notes.contains($0) }
  }

  /// Long ways through compressed streams end with an error: nobody waits for them any more.
  func stopDecoding() {
    for container in containers { container.cancel() }
  }

  /// Returns when all that was written until now is on the disk.
  func save() throws(DiskError) { try source.disk.flush() }

  /// The same, and nothing is written afterwards.
  func finish() throws(DiskError) { try source.finish() }

  var status: MountStatus {
    let now = shown.now
    return MountStatus(
      mountPoint: request.mountPoint, device: device.withLock { $0 }, image: request.image,
      format: layer.format, subformat: layer.subformat, virtualSize: now.disk.size,
      partitionTable: now.table.kind.rawValue, readOnly: !source.disk.isWritable,
      changes: request.changes.name, overlay: source.overlay, cache: request.cache.rawValue,
      daemonPid: getpid(), supervisorPid: supervisor, mountedAt: started, reads: activity.reads,
      bytesRead: activity.bytesRead, failedReads: activity.failedReads, writes: activity.writes,
      bytesWritten: activity.bytesWritten, failedWrites: activity.failedWrites,
      lastFailure: activity.lastFailure, blockCache: MountStatus.DecodedBlocks(blocks.figures),
      spill: (spill?.figures).map(MountStatus.Spill.init),
      containers: containers.map(MountStatus.Container.init),
      notes: (now.notes ?? notes) + containerNotes)
  }
}

extension DiskFolder {
  /// What a mount shows of an older state of its disk.
  fileprivate init(_ disk: Window, as request: MountRequest) throws(DiskError) {
    self.init(
      disk: disk, table: try PartitionTable.read(from: disk, sectorSize: request.sectorSize),
      options: request.fileOptions)
  }
}
