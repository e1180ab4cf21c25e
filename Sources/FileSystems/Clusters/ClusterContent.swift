internal import DiskCore

/// The bytes of a file that is stored in clusters.
final class ClusterContent: FileContent {
  let size: UInt64
  /// In bytes: what is behind it was never written and reads as zeros.
  private let written: UInt64
  private let runs: ClusterRuns
  private let heap: ClusterHeap
  private let volume: Volume

  init(_ runs: ClusterRuns, size: UInt64, written: UInt64, heap: ClusterHeap, in volume: Volume) {
    self.runs = runs
    self.size = size
    self.written = min(written, size)
    self.heap = heap
    self.volume = volume
  }

  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    guard offset.bytes < written else {
      return Extent(.zero, length: max(1, size - min(size, offset.bytes)))
    }
    let left = written - offset.bytes
    let index = offset.bytes / heap.clusterSize
    let within = offset.bytes % heap.clusterSize
    let wanted = heap.clusters(for: min(limit, left)) + 1
    switch try runs.run(at: index, limit: wanted) {
    case .clusters(let first, let count):
      return volume.extent(
        at: DiskOffset(heap.offset(of: first) + within),
        length: min(left, count * heap.clusterSize - within))
    case .end:
      return Extent(
        .unreadable(
          DiskError(
            .truncated, "the file's clusters end before the \(size) bytes that it should have",
            path: volume.storage.path)), length: left)
    case .damage(let error):
      return Extent(.unreadable(error), length: left)
    }
  }
}
