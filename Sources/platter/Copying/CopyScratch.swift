internal import DiskCore
internal import Synchronization

/// What one thread needs to copy files, one after the other.
struct CopyScratch: Sendable {
  /// In bytes: what a core keeps close by until it is written.
  private static let size = 256 << 10

  var buffer = [UInt8](repeating: 0, count: Self.size)
  /// Where the image has holes. To ask again for each file would cost more than to copy a small one: on a
  /// tmpfs each question is a walk over the image.
  var cursor = RegionCursor()
}

/// Those that nobody uses now.
final class CopyScratches: Sendable {
  private let free = Mutex<[CopyScratch]>([])

  func take() -> CopyScratch { free.withLock { $0.popLast() } ?? CopyScratch() }

  func putBack(_ scratch: CopyScratch) { free.withLock { $0.append(scratch) } }
}
