internal import Glibc

/// One page-aligned buffer for each thread that serves reads, kept for the thread's life.
///
/// A fresh buffer for each request costs more than the read itself: 1,090 MiB/s against 2,760
/// (DESIGN section 7).
enum ThreadBuffer {
  /// The largest read that the kernel sends by default: 256 pages.
  private static let usualCount = 1 << 20

  private static let key: pthread_key_t = {
    var key: pthread_key_t = 0
    unsafe pthread_key_create(&key) { unsafe free($0) }
    return key
  }()

  /// Room for `count` bytes, the calling thread's until its next call; nil where memory is short.
  static func room(for count: Int) -> UnsafeMutableRawBufferPointer? {
    guard count <= usualCount else { return nil }
    var start = unsafe pthread_getspecific(key)
    if unsafe start == nil {
      guard unsafe posix_memalign(&start, 4096, usualCount) == 0 else { return nil }
      unsafe pthread_setspecific(key, start)
    }
    return unsafe UnsafeMutableRawBufferPointer(start: start, count: count)
  }
}
