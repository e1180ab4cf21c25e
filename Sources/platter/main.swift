import DiskCore
import Glibc

// A caller can have closed the standard descriptors, whose numbers would then go to our own, and can
// ignore the signal by which the supervisor hears that its daemon ended.
while unsafe open("/dev/null", O_RDWR | O_CLOEXEC) < 3 {}
signal(SIGCHLD, SIG_DFL)

// A disk can be kept in more files than the 1,024 that most systems let a program have open until it
// asks.
var files = rlimit()
if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files) == 0 {
  files.rlim_cur = files.rlim_max
  _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
}

do {
  var command = try Platter.parseAsRoot()
  try command.run()
} catch let error as DiskError {
  Terminal.say("\(error)")
  exit(1)
} catch {
  Platter.exit(withError: error)
}
