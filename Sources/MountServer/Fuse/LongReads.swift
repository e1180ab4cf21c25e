internal import DiskCore
internal import Dispatch
internal import Glibc
internal import Synchronization

/// Reads that wait for a decoder with a long way to go.
///
/// Each has a thread of its own, so that the threads that serve are there for everybody else, and ends when the kernel
/// says that nobody wants its answer: by FUSE_INTERRUPT where somebody waits for the request itself. Behind pages
/// that the kernel reads ahead nobody does; a reader who is killed closes its file, and that is told.
final class LongReads: Sendable {
  private struct State: Sendable {
    var reads: [UInt: LongRead] = [:]
    var last: UInt = 0
    var ended: DispatchSemaphore?
  }

  /// How many threads there may be; more reads are answered on those that serve.
  private static let most = 64

  private let state = Mutex(State())
  /// A request must not be answered on the thread that tells of its interruption.
  private let interruptions = DispatchQueue(label: "platter.interruptions")

  /// Runs `body` on another thread, on the behalf of a waiter that leaves when nobody wants the answer any more.
  ///
  /// - Parameter body: gives the answer.
  /// - Returns: the request where there are too many already.
  func start(
    _ request: consuming FuseRequest, through file: OpenFile,
    _ body: @escaping @Sendable (Waiter) -> LongRead.Answer
  ) -> FuseRequest? {
    let number = state.withLock { state -> UInt? in
      guard state.reads.count < Self.most, state.ended == nil else { return nil }
      state.last += 1
      return state.last
    }
    guard let number else { return request }
    let handle = request.interruptible
    let read = LongRead(request, number, file)
    state.withLock { $0.reads[number] = read }
    // It can be interrupted already.
    handle.tellInterruption(as: number)
    read.wasPrepared()
    DetachedThread.run { [self] in
      read.answer(body(read.waiter))
      let ended = state.withLock { state in
        state.reads[number] = nil
        return state.reads.isEmpty ? state.ended : nil
      }
      ended?.signal()
    }
    return nil
  }

  /// The kernel says that nobody waits for read `number` any more.
  func wasInterrupted(_ number: UInt) {
    guard let read = state.withLock({ $0.reads[number] }) else { return }
    interruptions.async { read.giveUp() }
  }

  /// One of the holders of a handle has closed it, as who is killed does. What was read ahead for it is
  /// not wanted; whoever else wants these pages asks for them again.
  func closed(_ file: OpenFile) {
    guard file.isCached else { return }
    let reads = state.withLock { state in state.reads.values.filter { $0.file === file } }
    for read in reads { read.giveUp() }
  }

  /// Returns when none is left; no more are begun.
  func finish() {
    let ended = DispatchSemaphore(value: 0)
    let reads = state.withLock { state in
      state.ended = ended
      return Array(state.reads.values)
    }
    for read in reads { read.giveUp() }
    if !reads.isEmpty { ended.wait() }
  }
}

/// One of them.
final class LongRead: @unchecked Sendable {
  enum Answer {
    /// So many bytes of this thread's buffer.
    case bytes(Int)
    case failed(CInt)
  }

  let waiter = Waiter()
  let file: OpenFile
  private let number: UInt
  /// Until it is prepared its request is still being touched, and must not be answered.
  private let beginning = Mutex((isPrepared: false, isGivenUp: false))
  // Touched by who has turned this first.
  private let isAnswered = Atomic(false)
  private var request: FuseRequest?

  init(_ request: consuming FuseRequest, _ number: UInt, _ file: OpenFile) {
    self.request = consume request
    self.number = number
    self.file = file
  }

  /// Nobody wants the answer.
  func giveUp() {
    waiter.leave()
    let isPrepared = beginning.withLock { beginning in
      beginning.isGivenUp = true
      return beginning.isPrepared
    }
    if isPrepared { answer(.failed(EINTR)) }
  }

  /// From now on it can be answered by anybody.
  func wasPrepared() {
    let isGivenUp = beginning.withLock { beginning in
      beginning.isPrepared = true
      return beginning.isGivenUp
    }
    if isGivenUp { answer(.failed(EINTR)) }
  }

  /// Once; later answers go nowhere.
  func answer(_ answer: Answer) {
    guard !isAnswered.exchange(true, ordering: .acquiringAndReleasing),
      let request = request.take()
    else { return }
    request.interruptible.ignoreInterruption()
    request.reply(answer)
  }
}
