internal import CPosix
public import DiskCore
internal import Glibc

/// The running mounts of this user, as their daemons describe them.
public enum LiveMounts {
  /// All of them, by mount point. Sockets that dead daemons left are removed.
  ///
  /// - Throws: what kept the runtime folder from being read.
  public static func all() throws(DiskError) -> [MountStatus] {
    try RuntimeFolder.sockets().compactMap { socket in
      guard let text = ask("status", at: socket) else { return nil }
      return JSON.value(MountStatus.self, from: text)
    }.sorted { $0.mountPoint < $1.mountPoint }
  }

  /// Unmounts and waits until everything is written, the image is closed and both processes have
  /// ended. Also clears a mount whose daemon died.
  ///
  /// - Parameters:
  ///   - path: the mount point as the user typed it.
  ///   - lazily: detach it even while somebody uses it; then nothing is waited for.
  /// - Throws: `notFound` where no Platter mount is there, `busy` naming who uses it.
  public static func unmount(_ path: String, lazily: Bool) throws(DiskError) {
    let mountPoint = try MountPoint.resolved(path)
    let status = try all().first { $0.mountPoint == mountPoint }
    guard MountTable.entry(at: mountPoint) != nil else {
      throw DiskError(.notFound, "no Platter mount is here; 'platter list' shows them", path: path)
    }
    guard let status else {
      // Its daemon is gone, so nothing can be lost by detaching it.
      return try Fusermount.unmount(mountPoint, lazily: true)
    }
    let waiting = try lazily ? nil : RuntimeFolder.socket(of: status.daemonPid)
    let connection = waiting.flatMap { open($0, saying: "wait") }
    do throws(DiskError) {
      try Fusermount.unmount(mountPoint, lazily: lazily)
    } catch {
      if let connection { close(connection) }
      guard error.kind == .busy else { throw error }
      throw DiskError(.busy, "is in use\(OpenFiles.description(under: mountPoint))", path: path)
    }
    guard let connection else { return }
    _ = TextSocket.readAll(connection)
    close(connection)
    waitForEnd(of: status.supervisorPid)
  }

  /// The supervisor has only to notice that its daemon ended.
  private static func waitForEnd(of pid: pid_t) {
    for _ in 0..<1000 {
      guard kill(pid, 0) == 0 else { return }
      usleep(1000)
    }
  }

  private static func ask(_ word: String, at socket: String) -> String? {
    guard let connection = open(socket, saying: word) else { return nil }
    defer { close(connection) }
    return TextSocket.readAll(connection)
  }

  /// A connection on which `word` was said; nil where nobody listens. For `wait`, the daemon's word
  /// that it will be told has come.
  private static func open(_ path: String, saying word: String) -> CInt? {
    let connection = socket(
      AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard connection >= 0 else { return nil }
    guard unsafe platter_connect_unix(connection, path) == 0 else {
      if errno == ECONNREFUSED { unsafe unlink(path) }
      close(connection)
      return nil
    }
    guard TextSocket.write(word + "\n", to: connection) else {
      close(connection)
      return nil
    }
    if word == "wait" {
      var word = [UInt8](repeating: 0, count: 8)
      _ = unsafe word.withUnsafeMutableBytes { bytes in
        unsafe recv(connection, bytes.baseAddress, bytes.count, CInt(MSG_WAITALL))
      }
    }
    return connection
  }
}
