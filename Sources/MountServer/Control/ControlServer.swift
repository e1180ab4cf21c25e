internal import CPosix
internal import DiskCore
internal import Glibc
internal import Synchronization

/// The daemon's ear for everything but the kernel: the control socket (`ControlWord`), signals and the
/// supervisor.
final class ControlServer: Sendable {
  private let mount: ActiveMount
  private let path: String
  private let listener: CInt
  private let signals: CInt
  private let supervisor: SupervisorLink
  private let status: @Sendable () -> MountStatus
  private let saving: @Sendable () throws(DiskError) -> Void
  /// Clients to tell when the mount has ended.
  private let waiting = Mutex<[CInt]>([])

  /// - Parameter saving: returns when all that was written is on the disk; for a daemon that must end
  ///   while its mount is still held.
  /// - Throws: what kept the socket from being made.
  init(
    mount: ActiveMount, signals: consuming SignalDescriptor, supervisor: SupervisorLink,
    status: @escaping @Sendable () -> MountStatus,
    saving: @escaping @Sendable () throws(DiskError) -> Void
  ) throws(DiskError) {
    self.mount = mount
    self.supervisor = supervisor
    self.status = status
    self.saving = saving
    // Both are the daemon's until it ends.
    self.signals = signals.relinquish()
    path = try RuntimeFolder.socket(of: mount.device)
    listener = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
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
    while true {
      let clients = waiting.withLock { $0 }
      let ready = waitForInput(
        [listener, signals] + (isSupervised ? [supervisor.channel.descriptor] : []) + clients)
      if ready.contains(supervisor.channel.descriptor) {
        switch supervisor.channel.receive()?.message {
        case .end: end()
        case nil: isSupervised = false
        default: break
        }
      }
      if ready.contains(signals) { signalled() }
      if ready.contains(listener) { accept() }
      // They have said all that they have to say: now they can only have gone.
      for client in clients where ready.contains(client) { forget(client) }
    }
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

  private func accept() {
    let client = Glibc.accept(listener, nil, nil)
    guard client >= 0 else {
      // Out of descriptors: poll would come back at once.
      usleep(100_000)
      return
    }
    _ = fcntl(client, F_SETFD, FD_CLOEXEC)
    // A client that says nothing must not keep the others waiting for long.
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    unsafe setsockopt(
      client, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var line = [UInt8](repeating: 0, count: 64)
    let count = unsafe line.withUnsafeMutableBytes { bytes in
      unsafe recv(client, bytes.baseAddress, bytes.count, 0)
    }
    switch ControlWord(line: String(decoding: line.prefix(max(0, count)), as: UTF8.self)) {
    case .status:
      DescriptorText.send(JSON.text(of: status()), to: client)
      close(client)
    case .wait:
      waiting.withLock { $0.append(client) }
      DescriptorText.send(ControlWord.waiting, to: client)
    case .end: end()
    case nil: close(client)
    }
  }

  private func forget(_ client: CInt) {
    waiting.withLock { $0.removeAll { $0 == client } }
    close(client)
  }

  /// Tells those who wait that all is written and released, or what went wrong.
  func finish(failure: DiskError?) {
    unsafe unlink(path)
    for client in waiting.withLock({ $0 }) {
      DescriptorText.send(failure.map { "\($0)\n" } ?? ControlWord.done, to: client)
    }
  }

  /// Ends the daemon while the kernel still holds the connection.
  private func end() -> Never {
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
