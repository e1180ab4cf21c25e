internal import DiskCore
internal import Glibc

/// A mount of ours, known by the number of its file system: whatever is mounted over it later at the
/// same place is left alone.
struct ActiveMount: Sendable {
  let mountPoint: String
  /// As in the kernel's mount table.
  let device: String

  /// Mounts, and returns the mount with its open /dev/fuse.
  ///
  /// - Throws: `busy` where something else was mounted there meanwhile; otherwise as
  ///   `Fusermount.mount`.
  static func make(
    for request: MountRequest
  ) throws(DiskError) -> (mount: ActiveMount, descriptor: CInt) {
    // Two that mount at one place must not both find it free.
    let lock = try RuntimeFolder.lock()
    defer { close(lock) }
    guard !MountTable.isMounted(request.mountPoint) else {
      throw DiskError(.busy, "something else was just mounted there", path: request.mountPoint)
    }
    let descriptor = try Fusermount.mount(
      request.mountPoint, source: request.image, readOnly: request.changes == .refused,
      allowsOthers: request.allowsOthers)
    guard let entry = MountTable.entry(at: request.mountPoint) else {
      throw DiskError(
        .inputOutput, "fusermount3 mounted, but the mount cannot be seen", path: request.mountPoint)
    }
    return (
      ActiveMount(mountPoint: request.mountPoint, device: entry.device), descriptor.relinquish()
    )
  }

  /// Whether it is what one sees at its mount point.
  var isOnTop: Bool { MountTable.entry(at: mountPoint)?.device == device }

  /// Unmounts it where it is on top; where somebody uses it, only if `lazily`.
  ///
  /// - Returns: whether it is gone from its mount point.
  @discardableResult
  func unmount(lazily: Bool) -> Bool {
    guard isOnTop else { return true }
    do throws(DiskError) {
      try Fusermount.unmount(mountPoint, lazily: lazily)
      return true
    } catch {
      return false
    }
  }

  /// Takes away everything that stands for it: the mount itself and the daemon's socket.
  func clear() {
    unmount(lazily: true)
    if let socket = try? RuntimeFolder.socket(of: device) { unsafe unlink(socket) }
  }
}
