internal import CPosix
internal import DiskCore
internal import Glibc

/// A copy of this process that goes on as something else: the supervisor, the daemon.
///
/// A copy, and not the program started anew, because starting a Swift program costs 5 ms and a mount
/// would pay it twice more. It must be made before any thread is.
enum ForkedProcess {
  /// Runs `body` in a copy of this process, which ends with what that returns. In the copy,
  /// descriptor 3 is `descriptor`, standard input and output are /dev/null, and all else is closed.
  /// It keeps no folder in use: paths must be absolute.
  ///
  /// - Parameters:
  ///   - newSession: whether the copy leaves the terminal and the process group.
  ///   - keepsErrors: whether its standard error stays where it was.
  /// - Returns: the copy's number.
  /// - Throws: what `fork(2)` says.
  static func start(
    passing descriptor: CInt, newSession: Bool, keepsErrors: Bool, body: () -> CInt
  ) throws(DiskError) -> pid_t {
    let pid = platter_fork()
    guard pid >= 0 else { throw DiskError(system: errno, "cannot start another process") }
    guard pid == 0 else { return pid }
    if newSession { setsid() }
    unsafe chdir("/")
    leaveCrashesToTheKernel()
    let nothing = unsafe open("/dev/null", O_RDWR)
    for standard in [0, 1] + (keepsErrors ? [] : [2]) { dup2(nothing, CInt(standard)) }
    dup2(descriptor, 3)
    closefrom(4)
    _exit(body())
  }

  /// Swift's own handler would stop a crashed daemon at a debugger's prompt that nobody sees, and
  /// the mount would hang instead of ending.
  private static func leaveCrashesToTheKernel() {
    for number in [SIGQUIT, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP] {
      signal(number, SIG_DFL)
    }
  }
}
