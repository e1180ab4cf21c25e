internal import CPosix
internal import DiskCore
internal import Glibc

/// Starting programs with exactly the descriptors they need.
enum ChildProcess {
  struct Options {
    /// Copied to 0, 1, 2, 3, … in the child; nil for /dev/null. Everything else is closed there.
    var descriptors: [CInt?] = [nil, nil, nil]
    /// Added to the environment, or in place of what is there.
    var environment: [(name: String, value: String)] = []
  }

  /// Starts `program`, found along PATH where it is no path. No signal is blocked in it.
  ///
  /// - Throws: `notFound` where there is no such program, or what else kept it from starting.
  static func start(
    _ program: String, _ arguments: [String], _ options: Options
  ) throws(DiskError) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    // The sources can have numbers that are targets too: they are moved out of the way first.
    let base = CInt(options.descriptors.count)
    let sources = options.descriptors.map { $0.map { fcntl($0, F_DUPFD_CLOEXEC, base) } }
    defer { for source in sources { if let source { close(source) } } }
    for (target, source) in sources.enumerated() {
      if let source {
        unsafe posix_spawn_file_actions_adddup2(&actions, source, CInt(target))
      } else {
        unsafe posix_spawn_file_actions_addopen(&actions, CInt(target), "/dev/null", O_RDWR, 0)
      }
    }
    _ = unsafe platter_spawn_close_from(&actions, base)

    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    // A group of its own: Ctrl-C is for us, and we decide what it means for the child.
    unsafe posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

    var pid: pid_t = 0
    let failure = unsafe withCStrings([program] + arguments) { arguments in
      unsafe withCStrings(environment(with: options.environment)) { environment in
        unsafe posix_spawnp(&pid, program, &actions, &attributes, arguments, environment)
      }
    }
    guard failure == 0 else {
      throw DiskError(system: failure, "cannot start \(program)", path: nil)
    }
    return pid
  }

  /// Waits for the end of `pid`: its exit status, or 128 and the signal that killed it.
  static func wait(for pid: pid_t) -> CInt {
    var status: CInt = 0
    while unsafe waitpid(pid, &status, 0) < 0 {
      guard errno == EINTR else { return 255 }
    }
    return platter_exit_status(status)
  }

  private static func environment(with added: [(name: String, value: String)]) -> [String] {
    var result: [String] = []
    var next = unsafe platter_environment()
    while let variable = unsafe next?.pointee {
      let text = unsafe String(cString: variable)
      if !added.contains(where: { text.hasPrefix($0.name + "=") }) { result.append(text) }
      unsafe next = next?.advanced(by: 1)
    }
    return result + added.map { "\($0.name)=\($0.value)" }
  }

  private static func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
  ) -> Result {
    var pointers = unsafe strings.map { unsafe strdup($0) }
    unsafe pointers.append(nil)
    let count = unsafe pointers.count
    defer { for index in 0..<count { unsafe free(pointers[index]) } }
    return unsafe pointers.withUnsafeBufferPointer { buffer in
      // An array with the final nil in it is never empty.
      unsafe body(buffer.baseAddress.unsafelyUnwrapped)
    }
  }
}

/// The exit status out of what `waitpid` gave, or 128 and the signal, as a shell counts.
func exitStatus(_ status: CInt) -> CInt { platter_exit_status(status) }
