import DiskCore
import Glibc

do {
  var command = try Platter.parseAsRoot()
  try command.run()
} catch let error as DiskError {
  Terminal.say("\(error)")
  exit(1)
} catch {
  Platter.exit(withError: error)
}
