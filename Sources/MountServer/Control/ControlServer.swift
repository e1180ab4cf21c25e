internal import CPosix
internal import DiskCore
internal import Glibc
internal import Synchronization

/// The daemon's ear for everything but the kernel: the control socket, signals and the supervisor.
///
/// A client sends one line. `status` is answered with the mount's status; `wait` is answered when
/// the mount has ended and all is written and released: with nothing, or with what went wrong.
final class ControlServer: Sendable {
  private let path: String
  private let listener: CInt
  private let signals: CInt
  private let supervisor: SupervisorLink
  private let status: @Sendable () -> MountStatus
  private let waiting = Mutex<[CInt]>([])

  /// - Throws: what kept the socket from being made.
  init(
    socket path: String, signals: consuming SignalDescriptor, supervisor: SupervisorLink,
    status: @escaping @Sendable () -> MountStatus
  ) throws(DiskError) {
    self.path = path
    self.supervisor = supervisor
    self.status = status
    // Both are the daemon's until it ends.
    self.signals = signals.relinquish()
    listener = Glibc.socket(
      AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    // A daemon of this number that was killed can have left its socket.
    unsafe unlink(path)
    guard listener >= 0, unsafe platter_bind_unix(listener, path) == 0,
      Glibc.listen(listener, 16) == 0
    else { throw DiskError(system: errno, "cannot listen on the control socket", path: path) }
  }

  /// Starts listening, on a thread of its own.
  func start() {
    DetachedThread.run { [self] in attend() }
  }

  private func attend() {
    var supervised = true
    while true {
      let ready = waitForInput(
        [listener, signals] + (supervised ? [supervisor.channel.descriptor] : []))
      if ready.contains(supervisor.channel.descriptor) {
        switch supervisor.channel.receive()?.message {
        case .end: end()
        case nil: supervised = false
        default: break
        }
      }
      if ready.contains(signals) { signalled() }
      if ready.contains(listener) { accept() }
    }
  }

  private func signalled() {
    var info = signalfd_siginfo()
    guard unsafe read(signals, &info, MemoryLayout<signalfd_siginfo>.size) > 0,
      info.ssi_signo != UInt32(SIGHUP)
    else { return }
    // The supervisor unmounts; where it is gone, nothing is left but to go too.
    if !supervisor.channel.send(.endRequested) { end() }
  }

  private func accept() {
    let client = Glibc.accept(listener, nil, nil)
    guard client >= 0 else { return }
    _ = fcntl(client, F_SETFD, FD_CLOEXEC)
    // A client that says nothing must not keep the others waiting for long.
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    unsafe setsockopt(
      client, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var line = [UInt8](repeating: 0, count: 64)
    let count = unsafe line.withUnsafeMutableBytes { bytes in
      unsafe recv(client, bytes.baseAddress, bytes.count, 0)
    }
    switch String(decoding: line.prefix(max(0, count)), as: UTF8.self) {
    case "status\n":
      TextSocket.write(JSON.text(of: status()), to: client)
      close(client)
    case "wait\n":
      waiting.withLock { $0.append(client) }
      TextSocket.write("waiting\n", to: client)
    default:
      close(client)
    }
  }

  /// Tells those who wait that all is written and released.
  func finish() {
    unsafe unlink(path)
    for client in waiting.withLock({ $0 }) { close(client) }
  }

  /// Ends the daemon while the kernel still holds the connection.
  private func end() -> Never {
    finish()
    exit(0)
  }
}
