internal import DiskCore
internal import Dispatch
internal import ImageFormats
internal import MountTree
internal import Overlays
internal import Synchronization

/// The snapshots that a mount's changes have, while the mount is in use: changed one at a time, and shown
/// read-only.
///
/// Writers wait while one is made or deleted, on the threads that serve requests: for as long as writing new
/// tables takes, which can be seconds.
///
/// What belongs to a snapshot stays where it is for as long as the snapshot lives, whatever is written
/// beside it; so it is read out of the file as it is stored. When it is deleted, its bytes are taken away
/// from those who still have it open.
final class OverlaySnapshots: Sendable {
  private struct Shown: Sendable {
    let record: Overlay.SnapshotRecord
    let storage: RevocableStorage
    let folder: DiskFolder.Snapshot
  }

  private let overlay: Overlay
  private let file: any Storage
  /// The disk that is written to.
  private let disk: Disk
  private let base: Disk
  private let show: @Sendable (Window) throws(DiskError) -> DiskFolder
  /// Held while a snapshot is made or deleted, across I/O, and while the file is looked at to open one.
  /// Never by who drops the kernel's pages: that waits for reads, and they may wait for this.
  private let turn = DispatchSemaphore(value: 1)
  private let shown = Mutex<[Shown]>([])

  /// - Parameters:
  ///   - disk: the overlay on its base.
  ///   - show: what a disk's folder holds.
  /// - Throws: what keeps the list from being read.
  init(
    _ overlay: Overlay, disk: Disk, base: Disk,
    show: @escaping @Sendable (Window) throws(DiskError) -> DiskFolder
  ) throws(DiskError) {
    self.overlay = overlay
    self.disk = disk
    self.base = base
    self.show = show
    file = overlay.files[0]
    showAll(try overlay.snapshots)
  }

  /// What there is to show, oldest first.
  var folders: [DiskFolder.Snapshot] { shown.withLock { $0.map(\.folder) } }

  func list() throws(DiskError) -> [Overlay.SnapshotRecord] {
    turn.wait()
    defer { turn.signal() }
    return try overlay.snapshots
  }

  /// Keeps what every write has given that ended before; writes that come meanwhile wait.
  func create(_ name: String) throws(DiskError) {
    try changing { () throws(DiskError) in try overlay.createSnapshot(name) }
  }

  /// The disk is what it was in that snapshot. What the kernel has of it is the caller's business.
  func revert(to name: String) throws(DiskError) {
    try changing { () throws(DiskError) in try overlay.revert(to: name) }
  }

  func delete(_ name: String) throws(DiskError) {
    // A snapshot's number does as well where none has that name.
    let storages = shown.withLock { shown in
      let named = shown.filter { $0.record.name == name }
      return (named.isEmpty ? shown.filter { $0.record.id == name } : named).map(\.storage)
    }
    try changing { () throws(DiskError) in
      try Self.revoking(storages[...]) { () throws(DiskError) in try overlay.deleteSnapshot(name) }
    }
  }

  private static func revoking(
    _ storages: ArraySlice<RevocableStorage>, _ body: () throws(DiskError) -> Void
  ) throws(DiskError) {
    guard let first = storages.first else { return try body() }
    try first.revoke { () throws(DiskError) in try revoking(storages.dropFirst(), body) }
  }

  private func changing(_ body: () throws(DiskError) -> Void) throws(DiskError) {
    turn.wait()
    defer { turn.signal() }
    // Most of what is to be written is, before anybody has to wait.
    try disk.flush()
    try disk.holdingWrites(body)
    showAll(try overlay.snapshots)
  }

  /// Those that were there before stay what they are.
  private func showAll(_ records: [Overlay.SnapshotRecord]) {
    let before = shown.withLock { $0 }
    let after = records.map { record in
      before.first { $0.record == record && !$0.storage.isRevoked } ?? show(record)
    }
    shown.withLock { $0 = after }
  }

  private func show(_ record: Overlay.SnapshotRecord) -> Shown {
    let storage = RevocableStorage(file, reason: "the snapshot was deleted")
    let folder = DiskFolder.Snapshot(record.name) {
      [overlay, base, show, turn] () throws(DiskError) in
      turn.wait()
      defer { turn.signal() }
      let stored = try QCOW2Format().open(storage, .none).snapshots
      guard let snapshot = stored.first(where: { $0.identifier == record.id }) else {
        throw DiskError(.notFound, "the snapshot is gone", path: overlay.files[0].path)
      }
      // Of the last sector the header has more than the disk.
      let disk = try Disk(try snapshot.open(), over: base).whole
        .window(at: .start, size: record.size)
      return try show(disk)
    }
    return Shown(record: record, storage: storage, folder: folder)
  }
}
