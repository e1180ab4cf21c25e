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
    _ = try ForkedProcess.start(passing: theirs, newSession: true, keepsErrors: false) {
      let launcher = LauncherLink(Channel(adopting: 3))
      return Supervisor.run(request) { launcher.tell($0) }
    }
    close(theirs)
    switch channel.receive()?.message {
    case .ready(let notes):
      channel.send(.heard)
      return notes
    case .failed(let line):
      channel.send(.heard)
      throw DiskError(.invalidRequest, line)
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
      case .failed(let line): failure = DiskError(.inputOutput, line)
      default: break
      }
      return true
    }
    if let failure { throw failure }
    return status
  }
}

/// The supervisor's end of the channel to the waiting command, closed once it has been told.
private final class LauncherLink {
  private var channel: Channel?

  init(_ channel: consuming Channel) { self.channel = consume channel }

  /// Whether the command has heard it: one that was killed meanwhile has nobody to tell.
  func tell(_ message: Channel.Message) -> Bool {
    guard let channel = channel.take(), channel.send(message) else { return false }
    return if case .heard = channel.receive()?.message { true } else { false }
  }
}
