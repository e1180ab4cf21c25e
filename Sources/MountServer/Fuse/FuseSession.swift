internal import CFuse
internal import DiskCore
internal import Glibc

/// libfuse's session on a /dev/fuse that the supervisor opened.
enum FuseSession {
  /// Serves until the mount is gone.
  ///
  /// - Throws: `inputOutput` where the session cannot start or the connection breaks.
  static func serve(
    _ device: consuming OwnedDescriptor, by server: FileServer
  ) throws(DiskError) {
    var operations = FuseOperations.table()
    // libfuse keeps this pointer until the session is destroyed.
    let owner = unsafe Unmanaged.passRetained(server)
    defer { unsafe owner.release() }
    guard let session = unsafe platter_fuse_session_new(&operations, owner.toOpaque()) else {
      throw DiskError(.inputOutput, "libfuse cannot start a session")
    }
    defer { unsafe fuse_session_destroy(session) }
    unsafe server.changes.kernel.attach(session)
    defer { server.stopGivingPages() }
    // Before that: they hold pages, and requests of the session.
    defer { server.longReads.finish() }
    // From here on libfuse closes it.
    guard unsafe fuse_session_mount(session, "/dev/fd/\(device.relinquish())") == 0 else {
      throw DiskError(.inputOutput, "libfuse does not take the open /dev/fuse")
    }
    let result = unsafe platter_fuse_session_loop(session)
    unsafe fuse_session_unmount(session)
    // A signal number is a session that was asked to end.
    guard result >= 0 else {
      throw DiskError(system: -result, "the connection to the kernel broke")
    }
  }
}
