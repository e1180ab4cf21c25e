internal import DiskCore
internal import Dispatch
internal import Glibc
internal import Overlays
internal import Synchronization

/// What clients of the control socket ask of a mount's changes: done one after the other, on a thread
/// that attends to nothing else.
final class LiveVerbs: Sendable {
  private struct State: Sendable {
    var waiting = 0
    var isOver = false
  }

  /// How many requests may wait for their turn.
  private static let most = 32

  private let mounted: MountedImage
  private let server: FileServer
  private let mountPoint: String
  private let queue = DispatchQueue(label: "platter.verbs")
  private let state = Mutex(State())

  init(_ mounted: MountedImage, server: FileServer, mountPoint: String) {
    self.mounted = mounted
    self.server = server
    self.mountPoint = mountPoint
  }

  /// Calls `answer` once, on this thread or another.
  func submit(_ request: ControlRequest, answer: @escaping @Sendable (ControlAnswer) -> Void) {
    let refusal = state.withLock { state -> String? in
      if state.isOver { return "is being unmounted" }
      guard state.waiting < Self.most else { return "too many requests wait already" }
      state.waiting += 1
      return nil
    }
    if let refusal { return answer(.failed("\(printable(mountPoint)): \(refusal)")) }
    queue.async { [self] in
      let isOver = state.withLock { $0.isOver }
      answer(isOver ? .failed("\(printable(mountPoint)): is being unmounted") : perform(request))
      state.withLock { $0.waiting -= 1 }
    }
  }

  /// Returns when what is being done is done; nothing is begun afterwards.
  func finish() {
    state.withLock { $0.isOver = true }
    queue.sync {}
  }

  private func perform(_ request: ControlRequest) -> ControlAnswer {
    do throws(DiskError) {
      switch request.verb {
      case .views:
        return ControlAnswer(views: mounted.names(of: server.changes.caches.cachedNodes))
      case .save:
        writeBackNameless()
        try mounted.save()
      case .snapshots: return ControlAnswer(snapshots: try snapshots().list())
      case .createSnapshot: try create(try name(request))
      case .deleteSnapshot:
        try snapshots().delete(try name(request))
        mounted.snapshotsChanged()
      case .revert: try revert(to: try name(request))
      case .status, .wait, .end:
        throw DiskError(.invalidRequest, "\(request.verb.rawValue) is not this one's business")
      }
      return ControlAnswer()
    } catch {
      return .failed(error.description)
    }
  }

  private func name(_ request: ControlRequest) throws(DiskError) -> String {
    guard let name = request.name else {
      throw DiskError(.invalidRequest, "a request without the name that it is about")
    }
    return name
  }

  private func snapshots() throws(DiskError) -> OverlaySnapshots {
    guard let snapshots = mounted.overlaySnapshots else {
      throw DiskError(
        .invalidRequest,
        "keeps no changes of its own (it is mounted with neither --overlay nor --scratch), so there "
          + "is nothing to take a snapshot of", path: mountPoint)
    }
    return snapshots
  }

  /// The client has made the kernel write the views that have a name. Those that have none any more,
  /// windows of an old partition table, are written here.
  private func writeBackNameless() { server.changes.writeBack { !mounted.hasName($0) } }

  private func create(_ name: String) throws(DiskError) {
    let snapshots = try snapshots()
    writeBackNameless()
    try snapshots.create(name)
    mounted.snapshotsChanged()
  }

  /// How often, and for how many microseconds each, those are waited for who are just closing: the
  /// kernel tells of it a little later.
  private static let patience = (tries: 20, each: UInt32(25_000))

  private func revert(to name: String) throws(DiskError) {
    let snapshots = try snapshots()
    var tries = 0
    while !server.writing.close() {
      tries += 1
      guard tries < Self.patience.tries else {
        throw DiskError(
          .busy,
          "is open for writing\(OpenFiles.description(under: mountPoint, forWriting: true)); close "
            + "it first", path: mountPoint)
      }
      usleep(Self.patience.each)
    }
    defer { server.writing.reopen() }
    // Where it fails half-way, too, what the kernel has may be old.
    defer {
      mounted.contentWasReplaced()
      server.changes.dropEverything()
    }
    try snapshots.revert(to: name)
  }
}
