internal import CPosix
public import DiskCore
internal import Glibc
public import Overlays

/// A running mount of this user, whose changes can be looked at and managed while it is in use.
public struct LiveMount: Sendable {
  public let status: MountStatus
  private let socket: String
  /// The overlay's file as the user named it; nil where the mount point was named.
  private let file: String?

  private init(_ status: MountStatus, file: String? = nil) throws(DiskError) {
    self.status = status
    self.file = file
    socket = try RuntimeFolder.socket(of: status.device)
  }

  /// The mount at `path`; or, where that is an overlay's file, the mount that has it open for writing.
  /// Nil where there is none.
  ///
  /// - Throws: what keeps running mounts from being found; `unavailable` for a mount whose daemon is
  ///   gone or another user's; `invalidRequest` for a folder that is no mount.
  public static func using(_ path: String) throws(DiskError) -> LiveMount? {
    if let point = try? MountPoint.resolved(path), let entry = MountTable.entry(at: point) {
      guard let mount = try LiveMounts.all().first(where: { $0.device == entry.device }) else {
        throw DiskError(
          .unavailable, "is a Platter mount whose daemon does not answer", path: path)
      }
      return try LiveMount(mount)
    }
    guard !isFolder(path) else {
      throw DiskError(.invalidRequest, "is a folder in which no image is mounted", path: path)
    }
    guard let file = try? FileStorage(path: path), let identity = file.identity, isLocked(file)
    else { return nil }
    for mount in try LiveMounts.all() {
      // What has its path can be another file by now; then nobody has locked it.
      guard let overlay = mount.overlay, let other = try? FileStorage(path: overlay),
        other.identity == identity
      else { continue }
      return try LiveMount(mount, file: path)
    }
    return nil
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func isLocked(_ file: FileStorage) -> Bool {
    do throws(DiskError) {
      try ImageLock.take(.read, on: file.descriptorNumber, path: file.path)
      return false
    } catch {
      return error.kind == .busy
    }
  }

  /// The file that keeps the changes, as the user named it, or as the mount has it.
  ///
  /// - Throws: `invalidRequest` for a mount that keeps none in a file with a name.
  public func overlayFile() throws(DiskError) -> String {
    if let file = file ?? status.overlay { return file }
    throw DiskError(
      .invalidRequest,
      status.changes == MountRequest.Changes.scratch.name
        ? "its changes are in a file without a name, which cannot be looked at"
        : "keeps no changes in an overlay", path: status.mountPoint)
  }

  /// Returns when everything that was written through the mount before the call is on the disk, stores
  /// through mappings among it.
  ///
  /// - Throws: what the kernel or the daemon say of a write that failed.
  public func save() throws(DiskError) {
    try writeBack()
    _ = try ask(.save)
  }

  /// The snapshots of the mount's changes, oldest first.
  public func snapshots() throws(DiskError) -> [Overlay.SnapshotRecord] {
    try ask(.snapshots).snapshots ?? []
  }

  /// Keeps the disk as it is under `name`: all that was written before the call, and of what is
  /// written meanwhile each write wholly or not at all, as the daemon was given it.
  public func createSnapshot(_ name: String) throws(DiskError) {
    try writeBack()
    _ = try ask(.createSnapshot, name)
  }

  /// Puts the disk back. Every view of it, and every mapping, shows that from then on.
  ///
  /// - Throws: `invalidRequest`, naming who, where something is open for writing; nothing has changed
  ///   then.
  public func revert(to name: String) throws(DiskError) { _ = try ask(.revert, name) }

  public func deleteSnapshot(_ name: String) throws(DiskError) {
    _ = try ask(.deleteSnapshot, name)
  }

  /// The error for what can only be done with a file that is not mounted.
  public func mustBeUnmounted(_ path: String) -> DiskError {
    DiskError(
      .busy,
      "is mounted at \(printable(status.mountPoint)); 'platter unmount "
        + "\(printable(status.mountPoint))' first", path: path)
  }

  private func ask(
    _ verb: ControlRequest.Verb, _ name: String? = nil
  ) throws(DiskError) -> ControlAnswer {
    let request = ControlRequest(verb, name: name)
    guard request.line.utf8.count <= ControlRequest.longestLine else {
      throw DiskError(.invalidRequest, "the name is too long")
    }
    // Writing all that is not written yet can take any time.
    guard let client = ControlClient.connect(socket, saying: request, patience: nil) else {
      throw DiskError(.unavailable, "the daemon does not answer", path: status.mountPoint)
    }
    guard let answer: ControlAnswer = JSON.value(from: client.answer()) else {
      throw DiskError(
        .inputOutput, "the daemon ended before it had done that", path: status.mountPoint)
    }
    if let failure = answer.failure { throw DiskError(.invalidRequest, failure) }
    return answer
  }

  // MARK: - The kernel's dirty pages

  /// Lets the kernel hand to the daemon what it holds of writes and of stores through mappings. That is
  /// this process's work: a daemon that waits for itself cannot even be killed.
  private func writeBack() throws(DiskError) {
    let point = try opened(Self.open(status.mountPoint), status.mountPoint)
    var place = stat()
    guard unsafe fstat(point.number, &place) == 0,
      unsafe platter_has_device(place.st_dev, status.device) != 0
    else {
      throw DiskError(
        .unavailable, "cannot be seen from here: detached, or another namespace's",
        path: status.mountPoint)
    }
    // That of a FUSE mount does not wait for what it has begun; fsync(2) of each view does.
    if platter_syncfs(point.number) != 0 { throw failure(status.mountPoint) }
    for name in try ask(.views).views ?? [] {
      let path = name.isEmpty ? status.mountPoint : PathParts.join(status.mountPoint, name)
      let number = Self.open(path)
      // One that is gone meanwhile was closed first, which writes it.
      if number < 0, errno == ENOENT { continue }
      let view = try opened(number, path)
      if fsync(view.number) != 0 { throw failure(path) }
    }
  }

  private static func open(_ path: String) -> CInt {
    unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  }

  private func opened(_ number: CInt, _ path: String) throws(DiskError) -> OwnedDescriptor {
    guard number >= 0 else { throw failure(path) }
    return OwnedDescriptor(adopting: number)
  }

  private func failure(_ path: String) -> DiskError {
    DiskError(system: errno, "cannot be written back", path: path)
  }
}
