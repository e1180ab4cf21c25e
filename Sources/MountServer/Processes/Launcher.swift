public import DiskCore
internal import Glibc

/// Starts a mount from the command line and waits until it can be used.
public enum Launcher {
  /// Returns when the mount is usable, with what to tell the user about it.
  ///
  /// - Throws: what kept it from working, in the daemon's own words.
  public static func start(_ request: MountRequest) throws(DiskError) -> [String] {
    let (ours, theirs) = try Channel.pair()
    let channel = Channel(adopting: ours)
    var options = ChildProcess.Options(descriptors: [nil, nil, nil, theirs])
    options.newSession = true
    options.environment = [(Supervisor.requestVariable, JSON.text(of: request))]
    _ = try ChildProcess.start(
      "/proc/self/exe", [Role.supervisor.rawValue, request.image, request.mountPoint], options)
    close(theirs)
    switch channel.receive()?.message {
    case .ready(let notes): return notes
    case .failed(let line): throw DiskError(.invalidRequest, line)
    default:
      throw DiskError(
        .inputOutput, "the supervisor ended while it mounted; this is a bug in Platter",
        path: request.image)
    }
  }

  /// Supervises in this process, with the terminal, until the mount ends; `ready` is called once it
  /// can be used. Returns the exit status.
  ///
  /// - Throws: what kept it from working.
  public static func runInForeground(
    _ request: MountRequest, ready: @escaping ([String]) -> Void
  ) throws(DiskError) -> CInt {
    var failure: DiskError? = nil
    let status = Supervisor.run(request) { message in
      switch message {
      case .ready(let notes): ready(notes)
      case .failed(let line): failure = DiskError(.invalidRequest, line)
      default: break
      }
    }
    if let failure { throw failure }
    return status
  }

  /// Runs a process of a mount where this one was started as such: its exit status. Nil where this
  /// is the command itself.
  public static func runAsProcessOfMount(_ arguments: [String]) -> CInt? {
    guard arguments.count > 1, let role = Role(rawValue: arguments[1]),
      let request = unsafe getenv(Supervisor.requestVariable)
    else { return nil }
    let text = unsafe String(cString: request)
    switch role {
    case .supervisor: return Supervisor.run(requestText: text)
    case .daemon: return Daemon.run(requestText: text)
    }
  }
}
