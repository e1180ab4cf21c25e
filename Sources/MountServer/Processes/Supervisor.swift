internal import DiskCore
internal import Glibc

/// The process that mounts and unmounts. It parses no image: it starts the daemon that does, gives
/// it the open /dev/fuse, and takes the mount away when the daemon ends, however it ended.
struct Supervisor: ~Copyable {
  private let request: MountRequest
  private let signals: SignalDescriptor
  private let report: (Channel.Message) -> Void

  /// Supervises in this process until the mount ends; `report` hears once whether it can be used.
  static func run(_ request: MountRequest, report: @escaping (Channel.Message) -> Void) -> CInt {
    do throws(DiskError) {
      let supervisor = Supervisor(
        request: request,
        signals: try SignalDescriptor([SIGINT, SIGTERM, SIGHUP, SIGCHLD]), report: report)
      return try supervisor.supervise()
    } catch {
      if request.ownsMountPoint { unsafe rmdir(request.mountPoint) }
      report(.failed(line: error.description))
      return 1
    }
  }

  private func supervise() throws(DiskError) -> CInt {
    let (ours, theirs) = try Channel.pair()
    let daemon = Channel(adopting: ours)
    let pid = try ForkedProcess.start(
      passing: theirs, newSession: false, keepsErrors: request.foreground
    ) {
      Daemon.run(request, Channel(adopting: 3))
    }
    close(theirs)

    let mountID: Int
    do throws(DiskError) {
      mountID = try start(daemon)
    } catch {
      kill(pid, SIGKILL)
      _ = ChildProcess.wait(for: pid)
      throw error
    }
    let status = watch(daemon, pid)
    clear(mountID, daemonPid: pid)
    return status
  }

  /// From the daemon's word that it has opened the image to its word that it serves it. Returns the
  /// kernel's number for the mount.
  private func start(_ daemon: borrowing Channel) throws(DiskError) -> Int {
    try expect(daemon) { if case .opened = $0 { true } else { false } }
    let device = try Fusermount.mount(
      request.mountPoint, source: request.image, allowsOthers: request.allowsOthers)
    do throws(DiskError) {
      daemon.send(.serve, descriptor: device.number)
      let ready = try expect(daemon) { if case .ready = $0 { true } else { false } }
      report(ready)
    } catch {
      try? Fusermount.unmount(request.mountPoint, lazily: true)
      throw error
    }
    return MountTable.entry(at: request.mountPoint)?.id ?? -1
  }

  @discardableResult
  private func expect(
    _ daemon: borrowing Channel, where isExpected: (Channel.Message) -> Bool
  ) throws(DiskError) -> Channel.Message {
    let message = daemon.receive()?.message
    if let message, isExpected(message) { return message }
    if case .failed(let line) = message { throw DiskError(.invalidRequest, line) }
    throw DiskError(
      .inputOutput, "the daemon ended while it opened the image; this is a bug in Platter",
      path: request.image)
  }

  /// Until the daemon ends: its exit status.
  private func watch(_ daemon: borrowing Channel, _ pid: pid_t) -> CInt {
    var listening = true
    while true {
      let ready = waitForInput(
        [signals.number] + (listening ? [daemon.descriptor] : []))
      if ready.contains(daemon.descriptor) {
        if case .endRequested = daemon.receive()?.message { end(daemon) } else { listening = false }
      }
      guard ready.contains(signals.number) else { continue }
      switch signals.next() {
      case SIGCHLD:
        var status: CInt = 0
        if unsafe waitpid(pid, &status, WNOHANG) == pid { return exitStatus(status) }
      case SIGHUP where !request.foreground:
        break
      default:
        end(daemon)
      }
    }
  }

  /// Unmounts, which lets the kernel write back what it holds. Where the mount is in use it is
  /// detached, and the daemon told to end all the same.
  private func end(_ daemon: borrowing Channel) {
    do throws(DiskError) {
      try Fusermount.unmount(request.mountPoint, lazily: false)
    } catch {
      try? Fusermount.unmount(request.mountPoint, lazily: true)
      daemon.send(.end)
    }
  }

  /// What a daemon that crashed leaves behind.
  private func clear(_ mountID: Int, daemonPid: pid_t) {
    if MountTable.entry(at: request.mountPoint)?.id == mountID {
      try? Fusermount.unmount(request.mountPoint, lazily: true)
    }
    if let socket = try? RuntimeFolder.socket(of: daemonPid) { unsafe unlink(socket) }
    if request.ownsMountPoint { unsafe rmdir(request.mountPoint) }
  }
}
