internal import CPosix
internal import DiskCore
internal import Glibc

/// Signals as something to poll for: they are blocked in every thread, those started later too.
struct SignalDescriptor: ~Copyable {
  private let descriptor: OwnedDescriptor

  /// To be made before any thread is started.
  init(_ signals: [CInt]) throws(DiskError) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in signals { unsafe sigaddset(&set, signal) }
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    let number = unsafe signalfd(-1, &set, CInt(SFD_CLOEXEC))
    guard number >= 0 else { throw DiskError(system: errno, "cannot watch for signals") }
    descriptor = OwnedDescriptor(adopting: number)
  }

  var number: CInt { descriptor.number }

  consuming func relinquish() -> CInt { descriptor.relinquish() }

  /// The next signal; waits for it.
  func next() -> CInt {
    var info = signalfd_siginfo()
    let count = unsafe read(number, &info, MemoryLayout<signalfd_siginfo>.size)
    return count == MemoryLayout<signalfd_siginfo>.size ? CInt(info.ssi_signo) : 0
  }
}
