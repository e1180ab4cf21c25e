public import DiskCore
internal import Glibc

extension Overlay {
  /// A named state of the disk that the file keeps beside the active one: an internal snapshot of
  /// qcow2.
  public struct SnapshotRecord: Codable, Sendable, Equatable {
    /// QEMU's number, counting up from 1.
    public let id: String
    public let name: String
    /// When it was taken, since 1970.
    public let seconds: Int
    public let nanoseconds: Int
    /// Of the disk then, in bytes.
    public let size: UInt64
  }

  /// What is done with a file's snapshots.
  enum SnapshotChange: Sendable {
    case create(String)
    case revert(String)
    case delete(String)
  }

  // MARK: - A file that nobody has open

  /// The snapshots of an overlay, in the order they were taken in.
  ///
  /// - Throws: `malformed` for a table that cannot be; otherwise as `open(_:)`.
  public static func snapshots(in file: any Storage) throws(DiskError) -> [SnapshotRecord] {
    let header = try OverlayHeader(of: file)
    return try StoredSnapshot.all(of: file, header).snapshots.map { $0.record(header) }
  }

  /// Keeps the disk as it is now under a name. After a power cut at any point the snapshot is there or
  /// not, and the disk is as it was.
  ///
  /// - Parameters:
  ///   - name: 1 to 255 bytes, none a control character; no snapshot's name or number yet.
  ///   - file: an overlay that nobody has open.
  /// - Throws: `invalidRequest` for a name that cannot be, or after a commit that did not end;
  ///   `malformed` for a damaged file; what writing throws: ENOSPC where there is no room for new
  ///   tables, 128 KiB for each GiB of the disk that is mapped, and some 0.5 MiB.
  public static func createSnapshot(
    _ name: String, in file: any WritableStorage
  ) throws(DiskError) {
    try change(.create(name), in: file)
  }

  /// Makes the disk what it was when the snapshot was taken. What it was until now is lost; the snapshot
  /// stays.
  ///
  /// - Parameters:
  ///   - file: an overlay that nobody has open.
  ///   - name: of a snapshot, or its number where none has it as its name.
  /// - Throws: `notFound`; `unsupported` where the disk had another size then; otherwise as
  ///   `createSnapshot`.
  public static func revert(_ file: any WritableStorage, to name: String) throws(DiskError) {
    try change(.revert(name), in: file)
  }

  /// Deletes a snapshot; the disk stays as it is.
  ///
  /// - Throws: as `revert(_:to:)`.
  public static func deleteSnapshot(
    _ name: String, in file: any WritableStorage
  ) throws(DiskError) {
    try change(.delete(name), in: file)
  }

  private static func change(
    _ change: SnapshotChange, in file: any WritableStorage
  ) throws(DiskError) {
    let header = try OverlayHeader(of: file)
    try header.requireNoCommit(file.path)
    let old = try OverlayStructure(of: file, header)
    let rewrite = try OverlayRewrite(of: old, in: file, to: try old.after(change, in: file))
    try rewrite.write(to: file)
    try rewrite.makeValid(in: file)
    try rewrite.trim(file)
    // Whoever left it open left clusters that were counted and not used: they are free now.
    if header.platter.state != 0 { try writeState(0, to: file, at: header.statePlace) }
  }

  // MARK: - An open overlay

  // Reads may go on meanwhile. Nobody may be between `reserve` and `publish` or `abandon`, in `discard`
  // or in `close`: the caller sees to that.

  /// As `snapshots(in:)`.
  public var snapshots: [SnapshotRecord] {
    get throws(DiskError) {
      // Not while they are being exchanged.
      growing.wait()
      defer { growing.signal() }
      return try Self.snapshots(in: storage)
    }
  }

  /// As `createSnapshot(_:in:)`, of what was published before the call.
  ///
  /// - Throws: as that does. Where it fails before the file's header is written all is as it was;
  ///   where that write fails nobody knows which state the file has, and the overlay takes no more
  ///   changes until it is opened again.
  public func createSnapshot(_ name: String) throws(DiskError) { try change(.create(name)) }

  /// As `revert(_:to:)`. What was read before is told by nobody that it has changed.
  ///
  /// - Throws: as `createSnapshot(_:)`.
  public func revert(to name: String) throws(DiskError) { try change(.revert(name)) }

  /// As `deleteSnapshot(_:in:)`.
  ///
  /// - Throws: as `createSnapshot(_:)`.
  public func deleteSnapshot(_ name: String) throws(DiskError) { try change(.delete(name)) }

  private func change(_ change: SnapshotChange) throws(DiskError) {
    growing.wait()
    defer { growing.signal() }
    try state.withLock { (state) throws(DiskError) in try state.requireOpen() }
    _ = try flush()
    flushing.wait()
    defer { flushing.signal() }
    let held = try state.withLock { (state) throws(DiskError) in
      guard state.isSettled else {
        throw DiskError(.busy, "it is being written to; try again", path: storage.path)
      }
      return state.quarantine.flatMap(\.runs)
    }
    let old = try OverlayStructure(of: storage, try OverlayHeader(of: storage))
    let rewrite = try OverlayRewrite(
      of: old, in: storage, to: try old.after(change, in: storage), holding: held,
      keepingGivenUp: true)
    try rewrite.write(to: storage)
    do throws(DiskError) {
      try rewrite.makeValid(in: storage)
    } catch {
      let broken = DiskError(
        .inputOutput, "its tables could not be exchanged; open it again", path: storage.path,
        systemError: EIO, underlying: error)
      state.withLock { $0.broken = broken }
      throw broken
    }
    state.withLock { $0.install(rewrite) }
  }
}

extension OverlayStructure {
  /// What the file is to be.
  ///
  /// - Throws: `invalidRequest` for a name that cannot be; `notFound`; `unsupported`.
  fileprivate func after(
    _ change: Overlay.SnapshotChange, in file: any Storage
  ) throws(DiskError) -> OverlayRewrite.Target {
    var target = OverlayRewrite.Target(active: l1, snapshots: snapshots)
    switch change {
    case .create(let name):
      try snapshots.check(newName: name, path: path)
      var now = timespec()
      unsafe clock_gettime(CLOCK_REALTIME, &now)
      // It takes the active tables over, and the active state gets new ones.
      target.snapshots.append(
        StoredSnapshot(
          id: snapshots.nextID, name: name, at: (now.tv_sec, now.tv_nsec),
          l1Offset: header.l1Offset, l1Count: header.l1Count, diskSize: header.virtualSize))
    case .revert(let name):
      let snapshot = snapshots[try snapshots.index(named: name, path: path)]
      let size = snapshot.diskSize ?? header.virtualSize
      guard size == header.virtualSize else {
        throw DiskError(
          .unsupported,
          "the disk had \(size) bytes then, and has \(header.virtualSize) now; `qemu-img snapshot -a` "
            + "takes it back to that", path: path)
      }
      // What is behind the disk is a machine's memory.
      let mapped = geometry.tables(for: size)
      let l1 = try snapshot.l1(of: file).prefix(Int(clamping: mapped))
      target.active = Array(l1) + [UInt64](repeating: 0, count: max(0, self.l1.count - l1.count))
    case .delete(let name):
      target.snapshots.remove(at: try snapshots.index(named: name, path: path))
    }
    return target
  }
}

extension OverlayState {
  /// The file has everything that is in memory, and nobody is about to change that.
  fileprivate var isSettled: Bool {
    freed.isEmpty && newBlocks.isEmpty && dirtyL1.isEmpty
      && tables.allSatisfy { $0.value.isIdle }
  }

  /// The tables are others now.
  fileprivate mutating func install(_ rewrite: OverlayRewrite) {
    let new = rewrite.result
    l1 = new.l1
    l1At = new.header.l1Offset
    dirtyL1 = SectorSet(words: l1.count)
    tables = [:]
    epoch += 1
    blocks = new.blocks
    blockTableAt = new.header.refcountTableOffset
    metadata = new.metadata
    end = new.end
    ready = ClusterPool()
    counts = []
    know(rewrite.counts)
    generation += 1
    if !rewrite.givenUp.isEmpty { quarantine.append((generation, rewrite.givenUp)) }
  }
}
