internal import CPosix
internal import DiskCore
internal import Glibc

/// The process that mounts and unmounts. It parses no image: it starts the daemon that does, gives
/// it the open /dev/fuse, and takes the mount away when the daemon ends, however it ended.
struct Supervisor: ~Copyable {
  /// Tells the command how it went; false where nobody listens any more.
  typealias Report = (Channel.Message) -> Bool

  private let request: MountRequest
  private let signals: SignalDescriptor
  private let report: Report

  /// Supervises in this process until the mount ends; `report` hears once that it can be used, and
  /// of the first failure. Returns the exit status.
  static func run(_ request: MountRequest, report: @escaping Report) -> CInt {
    do throws(DiskError) {
      let supervisor = Supervisor(
        request: request,
        signals: try SignalDescriptor([SIGINT, SIGTERM, SIGHUP, SIGCHLD]), report: report)
      try supervisor.supervise()
      return 0
    } catch {
      if request.ownsMountPoint { unsafe rmdir(request.mountPoint) }
      if !report(.failed(line: error.description)) {
        unsafe platter_syslog(LOG_ERR, "platter: \(error)")
      }
      return 1
    }
  }

  private func supervise() throws(DiskError) {
    let (ours, theirs) = try Channel.pair()
    let daemon = Channel(adopting: ours)
    let pid = try ForkedProcess.start(
      passing: theirs, newSession: false, keepsErrors: request.foreground
    ) {
      Daemon.run(request, Channel(adopting: 3))
    }
    close(theirs)

    var mount: ActiveMount? = nil
    let started: ActiveMount
    do throws(DiskError) {
      started = try start(daemon, &mount)
    } catch {
      kill(pid, SIGKILL)
      _ = ChildProcess.wait(for: pid)
      mount?.clear()
      throw error
    }
    defer {
      started.clear()
      if request.ownsMountPoint { unsafe rmdir(request.mountPoint) }
    }
    try watch(daemon, pid, started)
  }

  /// From the daemon's word that it has opened the image to its word that it serves it.
  ///
  /// - Parameter mount: set as soon as there is something to take away again.
  private func start(
    _ daemon: borrowing Channel, _ mount: inout ActiveMount?
  ) throws(DiskError) -> ActiveMount {
    try expect(daemon) { if case .opened = $0 { true } else { false } }
    let (made, descriptor) = try ActiveMount.make(for: request)
    mount = made
    daemon.send(.serve(device: made.device), descriptor: descriptor)
    close(descriptor)
    let ready = try expect(daemon) { if case .ready = $0 { true } else { false } }
    guard report(ready) else { throw Self.interrupted }
    return made
  }

  /// The daemon's next word, unless a signal asks for the end first.
  @discardableResult
  private func expect(
    _ daemon: borrowing Channel, where isExpected: (Channel.Message) -> Bool
  ) throws(DiskError) -> Channel.Message {
    while true {
      let ready = waitForInput([daemon.descriptor, signals.number])
      if ready.contains(daemon.descriptor) {
        let message = daemon.receive()?.message
        if let message, isExpected(message) { return message }
        switch message {
        case .failed(let line): throw DiskError(.inputOutput, line)
        case .endRequested: throw Self.interrupted
        default:
          throw DiskError(
            .inputOutput, "the daemon ended while it opened the image; this is a bug in Platter",
            path: request.image)
        }
      }
      if ready.contains(signals.number), asksForTheEnd(signals.next()) { throw Self.interrupted }
    }
  }

  private static let interrupted = DiskError(.invalidRequest, "interrupted")

  /// A daemon's end is seen on its channel; a terminal that closes is none of a background mount's
  /// business.
  private func asksForTheEnd(_ signal: CInt) -> Bool {
    signal != SIGCHLD && (signal != SIGHUP || request.foreground)
  }

  /// Until the daemon ends.
  ///
  /// - Throws: what it ended with, if that was not success.
  private func watch(
    _ daemon: borrowing Channel, _ pid: pid_t, _ mount: ActiveMount
  ) throws(DiskError) {
    var lastWords: String? = nil
    var isListening = true
    var isEnding = false
    while true {
      var status: CInt = 0
      if unsafe waitpid(pid, &status, WNOHANG) == pid {
        return try judge(exitStatus(status), lastWords)
      }
      // The kernel ends the daemon's connection with the unmount, but not while another namespace
      // has a copy of the mount or somebody still uses one that was detached.
      let ready = waitForInput(
        [signals.number] + (isListening ? [daemon.descriptor] : []), timeout: isEnding ? 1000 : -1)
      if ready.isEmpty, isEnding {
        daemon.send(.end)
        isEnding = false
      }
      if ready.contains(daemon.descriptor) {
        switch daemon.receive()?.message {
        case .endRequested: isEnding = end(mount)
        case .failed(let line): lastWords = line
        case nil: isListening = false
        default: break
        }
      }
      if ready.contains(signals.number), asksForTheEnd(signals.next()) { isEnding = end(mount) }
    }
  }

  /// Unmounts, which lets the kernel write back what it holds; what is in use is detached.
  private func end(_ mount: ActiveMount) -> Bool {
    if !mount.unmount(lazily: false) { mount.unmount(lazily: true) }
    return true
  }

  private func judge(_ status: CInt, _ lastWords: String?) throws(DiskError) {
    guard status != 0 else { return }
    throw DiskError(
      .inputOutput,
      lastWords
        ?? (status > 128
          ? "the daemon was killed by signal \(status - 128); the mount is gone"
          : "the daemon failed; the mount is gone"),
      path: lastWords == nil ? request.image : nil)
  }
}
