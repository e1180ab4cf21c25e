internal import CPosix

/// How glibc's heap behaves in a daemon that runs for weeks and holds large blocks.
///
/// Left alone it takes large blocks from its arenas once one was freed, up to 32 MiB, and keeps what was
/// freed between two that are in use: a cache of 64 MiB took 200. Sources: mallopt(3).
enum HeapPolicy {
  /// From this size on memory comes from the kernel and goes back to it, in bytes. Setting it also ends
  /// that it grows. Buffers that are filled again and again are smaller, or kept.
  private static let mapped: CInt = 256 << 10
  /// What may be free at an arena's end, in bytes.
  private static let idle: CInt = 1 << 20
  /// How many arenas there are: little is allocated to serve a read, so that threads seldom meet there.
  private static let arenas: CInt = 2

  static func apply() {
    _ = mallopt(M_MMAP_THRESHOLD, mapped)
    _ = mallopt(M_TRIM_THRESHOLD, idle)
    _ = mallopt(M_ARENA_MAX, arenas)
  }
}
