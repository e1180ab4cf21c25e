public import DiskCore
internal import Glibc

/// The running mounts of this user, as their daemons describe them.
public enum LiveMounts {
  /// All of them, by mount point. A daemon that does not answer is left out; the sockets of dead ones
  /// are removed.
  ///
  /// - Throws: what kept the runtime folder from being read.
  public static func all() throws(DiskError) -> [MountStatus] {
    try RuntimeFolder.sockets().compactMap(status(at:))
      .sorted { ($0.mountPoint, $0.mountedAt) < ($1.mountPoint, $1.mountedAt) }
  }

  private static func status(at socket: String) -> MountStatus? {
    guard let client = ControlClient.connect(socket, saying: ControlRequest(.status), patience: 2)
    else {
      return nil
    }
    return JSON.value(MountStatus.self, from: client.answer())
  }

  /// Whether the mount is at its place, as seen from here: one that was detached while in use, or that
  /// lives in another namespace, is not.
  public static func isVisible(_ mount: MountStatus) -> Bool {
    MountTable.platterMounts().contains { $0.device == mount.device }
  }

  /// Unmounts and waits until everything is written, the image is closed and both processes have
  /// ended. Also clears a mount whose daemon died.
  ///
  /// - Parameters:
  ///   - path: the mount point as the user typed it.
  ///   - lazily: detach it even while somebody uses it; then nothing is waited for.
  /// - Throws: `notFound` where no Platter mount is there, `busy` naming who uses it, `inputOutput`
  ///   with the daemon's own words where it failed at the end.
  public static func unmount(_ path: String, lazily: Bool) throws(DiskError) {
    let mountPoint = try MountPoint.resolved(path)
    guard let entry = MountTable.entry(at: mountPoint) else {
      throw DiskError(.notFound, "no Platter mount is here; 'platter list' shows them", path: path)
    }
    if MountTable.isDead(mountPoint) {
      try Fusermount.unmount(mountPoint, lazily: true)
    } else if lazily {
      try Fusermount.unmount(mountPoint, lazily: true)
    } else {
      try unmountAndWait(entry, path)
    }
    // The supervisor does this, unless it was killed.
    if try RuntimeFolder.holds(mountPoint) { unsafe rmdir(mountPoint) }
  }

  private static func unmountAndWait(
    _ entry: MountTable.Entry, _ path: String
  ) throws(DiskError) {
    let socket = try RuntimeFolder.socket(of: entry.device)
    let supervisor = status(at: socket)?.supervisorPid
    // Said before the unmount, after which there may be nobody to hear it.
    let client = ControlClient.connect(socket, saying: ControlRequest(.wait), patience: 10)
    let isWaitedFor = client?.isWaitedFor() ?? false
    try unmountUnused(entry, path)
    guard isWaitedFor, let client else { return }
    // The kernel ends the connection at once, unless another namespace has a copy of the mount.
    if !client.hasAnswer(within: 1000) {
      _ = ControlClient.connect(socket, saying: ControlRequest(.end), patience: 2)
    }
    // To write what it has not written yet takes any time.
    client.waitWithoutLimit()
    let answer = client.answer()
    if answer != ControlRequest.done {
      let words = answer.isEmpty ? "the daemon ended without a word" : String(answer.dropLast())
      throw DiskError(.inputOutput, words, path: path)
    }
    if let supervisor { waitForEnd(of: supervisor) }
  }

  /// - Throws: `busy` naming who uses it. The daemon of a writable mount can use it itself for a moment
  ///   (`SingleView`): where nobody is to be seen, it is tried again.
  private static func unmountUnused(
    _ entry: MountTable.Entry, _ path: String
  ) throws(DiskError) {
    var tries = 0
    while true {
      do throws(DiskError) {
        return try Fusermount.unmount(entry.mountPoint, lazily: false)
      } catch {
        guard error.kind == .busy else { throw error }
        let users = OpenFiles.description(under: entry.mountPoint)
        tries += 1
        guard users.isEmpty, tries < 5 else {
          throw DiskError(.busy, "is in use\(users)", path: path)
        }
        usleep(50_000)
      }
    }
  }

  /// The supervisor has only to notice that its daemon ended.
  private static func waitForEnd(of pid: pid_t) {
    for _ in 0..<1000 {
      guard kill(pid, 0) == 0, !isZombie(pid) else { return }
      usleep(1000)
    }
  }

  /// In a container whose first process collects nobody, ended processes stay as zombies. proc(5),
  /// /proc/pid/stat: the state is the field behind the name in brackets.
  private static func isZombie(_ pid: pid_t) -> Bool {
    guard let file = try? OwnedDescriptor.open(reading: "/proc/\(pid)/stat") else { return true }
    let text = DescriptorText.readAll(file.number)
    guard let bracket = text.lastIndex(of: ")") else { return false }
    return text[bracket...].dropFirst(2).first == "Z"
  }
}
