import DiskCore
import Glibc

// A caller can have closed the standard descriptors, whose numbers would then go to our own, and can
// ignore the signal by which the supervisor hears that its daemon ended.
while unsafe open("/dev/null", O_RDWR | O_CLOEXEC) < 3 {}
signal(SIGCHLD, SIG_DFL)

do {
  var command = try Platter.parseAsRoot()
  try command.run()
} catch let error as DiskError {
  Terminal.say("\(error)")
  exit(1)
} catch {
  Platter.exit(withError: error)
}
