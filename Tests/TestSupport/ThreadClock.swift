import Glibc

/// The processor time of the calling thread: what a test's limit of time is measured by, where other tests run on
/// the same processors meanwhile. What other threads do for it, and waiting, is not in it.
public struct ThreadClock: Sendable {
  public struct Instant: Sendable {
    let time: Duration

    public func duration(to other: Instant) -> Duration { other.time - time }

    public static func - (a: Instant, b: Instant) -> Duration { a.time - b.time }
  }

  public init() {}

  public var now: Instant {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Instant(time: .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec))
  }

  public func measure<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure)
    -> Duration
  {
    let start = now
    try body()
    return now - start
  }
}
