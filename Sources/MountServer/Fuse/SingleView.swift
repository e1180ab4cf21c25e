internal import CPosix
internal import DiskCore
internal import Dispatch
internal import Glibc
internal import Synchronization

/// The one view of a writable mount in a regular file's place.
///
/// Nothing else shows its bytes, so the kernel may collect what is written to it
/// (`FUSE_CAP_WRITEBACK_CACHE`): random writes of 4 KiB go eight times as fast. With that it takes the
/// file's size for its own business and no longer ours, and this type is about what follows from it:
///
/// - Linux gives the root of a mount the size 0, and takes another one only as the answer to a
///   `truncate(2)`: so we make one.
/// - A write past the end is taken, and the file seems to grow. We hear of it when the kernel writes it
///   back. Then the next `write(2)` is told ENOSPC, and the file gets its size back. A single write past
///   the end is told by `fsync(2)` or `close(2)`.
/// - What is data the kernel may not have told us yet, while somebody has the file open for writing.
final class SingleView: Sendable {
  private let mount: ActiveMount
  private let modified: timespec
  private let kernel: KernelPages
  private let thread = DispatchQueue(label: "platter.size")
  /// Until when a writer is to be told that it has gone past the end, in nanoseconds of the clock that
  /// only goes forward; 0 for nothing to tell.
  private let overrun = Atomic<UInt64>(0)

  init(_ mount: ActiveMount, modified: timespec, kernel: KernelPages) {
    self.mount = mount
    self.modified = modified
    self.kernel = kernel
  }

  /// Gives the file its size and time, then calls `done`. To be called before the kernel's first request
  /// is answered.
  func prepare(then done: @escaping @Sendable () -> Void) {
    thread.async { [self] in
      setSize()
      done()
    }
  }

  /// The answer to this is what the kernel takes the size from.
  ///
  /// The mount can be gone by now, and what is at its place then is the user's own file: only what was
  /// seen to be ours is touched, through the very descriptor that it was seen with.
  private func setSize() {
    guard let file = try? OwnedDescriptor.open(locating: mount.mountPoint) else { return }
    var status = stat()
    guard unsafe fstat(file.number, &status) == 0,
      unsafe platter_has_device(status.st_dev, mount.device) != 0
    else { return }
    let isFirst = status.st_size == 0
    unsafe truncate(file.procPath, 0)
    guard isFirst else { return }
    let times = [modified, modified]
    unsafe utimensat(AT_FDCWD, file.procPath, times, 0)
  }

  /// How long a writer that went on writing past the end is waited for.
  private static let patience: UInt64 = 1_000_000_000

  /// The kernel has written something back that lies past the end.
  func wroteTooFar() {
    overrun.store(DispatchTime.now().uptimeNanoseconds + Self.patience, ordering: .relaxed)
    thread.async { [self] in
      kernel.forgetAttributes(of: 1)
      setSize()
    }
  }

  /// Whether the writer that now asks for the file's attributes is to be told that it is full: the
  /// kernel asks before each write, once it was told to forget them.
  func takeOverrun() -> Bool {
    let end = overrun.exchange(0, ordering: .relaxed)
    return end != 0 && DispatchTime.now().uptimeNanoseconds < end
  }
}
