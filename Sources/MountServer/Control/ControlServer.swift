internal import CPosix
internal import DiskCore
internal import Dispatch
internal import Glibc
internal import Synchronization

/// The daemon's ear for everything but the kernel: the control socket (`ControlRequest`), signals and the
/// supervisor. Nothing that takes time is done on its thread: that is `LiveVerbs`' business.
final class ControlServer: Sendable {
  private let mount: ActiveMount
  private let path: String
  private let listener: CInt
  private let signals: CInt
  private let supervisor: SupervisorLink
  private let status: @Sendable () -> MountStatus
  private let verbs: LiveVerbs
  private let saving: @Sendable () throws(DiskError) -> Void
  /// Taken by who ends the daemon: the thread that serves the mount, once that is gone, or ours before.
  private let ending = DispatchSemaphore(value: 1)
  /// Clients to tell when the mount has ended.
  private let waiting = Mutex<[CInt]>([])

  /// How many of them there may be.
  private static let mostWaiting = 64

  /// - Parameter saving: returns when all that was written is on the disk; for a daemon that must end
  ///   while its mount is still held.
  /// - Throws: what kept the socket from being made.
  init(
    mount: ActiveMount, signals: consuming SignalDescriptor, supervisor: SupervisorLink,
    status: @escaping @Sendable () -> MountStatus, verbs: LiveVerbs,
    saving: @escaping @Sendable () throws(DiskError) -> Void
  ) throws(DiskError) {
    self.mount = mount
    self.supervisor = supervisor
    self.status = status
    self.verbs = verbs
    self.saving = saving
    // Both are the daemon's until it ends.
    self.signals = signals.relinquish()
    path = try RuntimeFolder.socket(of: mount.device)
    // Never waited for: a client can be gone again by the time that it is asked in.
    listener = Glibc.socket(
      AF_UNIX,
      CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
    // Under its own name only once it listens: a socket that nobody listens on is cleared away.
    let newborn = "\(path).new"
    unsafe unlink(newborn)
    guard listener >= 0, unsafe platter_bind_unix(listener, newborn) == 0,
      Glibc.listen(listener, 16) == 0, unsafe rename(newborn, path) == 0
    else { throw DiskError(system: errno, "cannot listen on the control socket", path: path) }
  }

  /// Starts listening, on a thread of its own.
  func start() {
    DetachedThread.run { [self] in attend() }
  }

  private func attend() {
    var isSupervised = true
    var incoming = IncomingRequests()
    while true {
      let clients = waiting.withLock { $0 }
      let speaking = incoming.descriptors
      let ready = waitForInput(
        [listener, signals] + (isSupervised ? [supervisor.channel.descriptor] : []) + clients
          + speaking, timeout: speaking.isEmpty ? -1 : 500)
      if ready.contains(supervisor.channel.descriptor) {
        switch supervisor.channel.receive()?.message {
        case .end: end()
        case nil: isSupervised = false
        default: break
        }
      }
      if ready.contains(signals) { signalled() }
      for client in speaking where ready.contains(client) {
        switch incoming.listen(to: client) {
        case .incomplete: break
        case .request(let request): answer(request, to: client)
        case .nonsense: answer(.failed("this is no request that this daemon knows"), to: client)
        case .gone: close(client)
        }
      }
      let now = Self.now
      for client in incoming.takeLate(now: now) { close(client) }
      if ready.contains(listener), let client = accept(),
        let oldest = incoming.add(client, now: now)
      {
        close(oldest)
      }
      // They have said all that they have to say: now they can only have gone.
      for client in clients where ready.contains(client) { forget(client) }
    }
  }

  private static var now: Int {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec
  }

  private func signalled() {
    var info = signalfd_siginfo()
    guard unsafe read(signals, &info, MemoryLayout<signalfd_siginfo>.size) > 0,
      info.ssi_signo != UInt32(SIGHUP)
    else { return }
    guard !supervisor.channel.send(.endRequested) else { return }
    // Nobody is left to do it for us.
    if !mount.unmount(lazily: false) { mount.unmount(lazily: true) }
    end()
  }

  private func accept() -> CInt? {
    let client = Glibc.accept(listener, nil, nil)
    guard client >= 0 else {
      // Out of descriptors: poll would come back at once.
      if errno != EAGAIN { usleep(100_000) }
      return nil
    }
    _ = fcntl(client, F_SETFD, FD_CLOEXEC)
    // One that does not read its answer must not keep the others waiting for long.
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    unsafe setsockopt(
      client, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    return client
  }

  /// The client is closed once it has its answer.
  private func answer(_ request: ControlRequest, to client: CInt) {
    switch request.verb {
    case .status:
      DescriptorText.send(JSON.text(of: status()), to: client)
      close(client)
    case .wait:
      let isHeard = waiting.withLock { waiting in
        guard waiting.count < Self.mostWaiting else { return false }
        waiting.append(client)
        return true
      }
      if isHeard { DescriptorText.send(ControlRequest.waiting, to: client) } else { close(client) }
    case .end:
      end()
      close(client)
    case .views, .save, .snapshots, .createSnapshot, .deleteSnapshot, .revert:
      verbs.submit(request) { [self] in answer($0, to: client) }
    }
  }

  private func answer(_ answer: ControlAnswer, to client: CInt) {
    DescriptorText.send(JSON.text(of: answer) + "\n", to: client)
    close(client)
  }

  private func forget(_ client: CInt) {
    waiting.withLock { $0.removeAll { $0 == client } }
    close(client)
  }

  /// Tells those who wait that all is written and released, or what went wrong.
  func finish(failure: DiskError?) {
    unsafe unlink(path)
    for client in waiting.withLock({ $0 }) {
      DescriptorText.send(failure.map { "\($0)\n" } ?? ControlRequest.done, to: client)
    }
  }

  /// The mount is gone: whoever calls this ends the daemon, in its own time, and nobody else does.
  func beginEnd() { ending.wait() }

  /// Ends the daemon while the kernel still holds the connection. Returns where that is being done.
  private func end() {
    guard ending.wait(timeout: .now()) == .success else { return }
    do throws(DiskError) {
      try saving()
      finish(failure: nil)
      _exit(0)
    } catch {
      supervisor.channel.send(.failed(line: error.description))
      finish(failure: error)
      _exit(1)
    }
  }
}
