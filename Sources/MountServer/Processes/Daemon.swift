internal import DiskCore
internal import Glibc
internal import ImageFormats
internal import Logging
internal import MountTree

/// The process that opens the image and serves it until the mount is gone.
enum Daemon {
  /// Runs as the process that `Supervisor` started; returns the exit status.
  static func run(_ request: MountRequest, _ channel: consuming Channel) -> CInt {
    let supervisor = SupervisorLink(channel)
    HeapPolicy.apply()
    do throws(DiskError) {
      try serve(request, supervisor)
      return 0
    } catch {
      supervisor.channel.send(.failed(line: error.description))
      return 1
    }
  }

  private static func serve(
    _ request: MountRequest, _ supervisor: SupervisorLink
  ) throws(DiskError) {
    let signals = try SignalDescriptor([SIGINT, SIGTERM, SIGHUP])
    let activity = MountActivity(log: logger(foreground: request.foreground))
    let image = try OpenImage(path: request.image, options: request.imageOptions)
    let mounted = try MountedImage(image, request: request, activity: activity)
    supervisor.channel.send(.opened)
    guard let (message, number) = supervisor.channel.receive(), number >= 0,
      case .serve(let device) = message
    else { throw DiskError(.inputOutput, "the supervisor gave no /dev/fuse") }
    let connection = OwnedDescriptor(adopting: number)
    mounted.setDevice(device)
    ConnectionEnd.watch(connection) { mounted.stopDecoding() }
    let notes = mounted.notes
    let mount = ActiveMount(mountPoint: request.mountPoint, device: device)
    let server = FileServer(
      tree: mounted.tree, owner: mounted.owner, activity: activity, cache: request.cache,
      isShared: request.sharesImage,
      single: request.inPlaceOfFile && request.changes != .refused ? mount : nil,
      isCertain: { mounted.isSizeCertain },
      contentChanged: { mounted.contentChanged() },
      started: { supervisor.channel.send(.ready(notes: notes)) })
    mounted.correctSizes { server.changes.forgetSizes(of: $0) }
    let verbs = LiveVerbs(mounted, server: server, mountPoint: request.mountPoint)
    let control = try ControlServer(
      mount: mount, signals: signals, supervisor: supervisor, status: { mounted.status },
      verbs: verbs,
      saving: { () throws(DiskError) in
        // Behind it comes the process's end: who then waited for pages of the kernel would never be gone.
        defer { server.stopGivingPages() }
        verbs.finish()
        server.changes.writeBack()
        try mounted.save()
      })
    control.start()
    do throws(DiskError) {
      try FuseSession.serve(connection, by: server)
      control.beginEnd()
      verbs.finish()
      try mounted.finish()
      control.finish(failure: nil)
    } catch {
      control.finish(failure: error)
      throw error
    }
  }

  private static func logger(foreground: Bool) -> Logger {
    Logger(label: "platter") { (label) -> any LogHandler in
      if foreground { StreamLogHandler.standardError(label: label) } else { SystemLog() }
    }
  }
}

/// The daemon's end of the channel to its supervisor, which may die first.
final class SupervisorLink: Sendable {
  let channel: Channel

  init(_ channel: consuming Channel) { self.channel = channel }
}
