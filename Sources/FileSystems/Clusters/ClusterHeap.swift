internal import DiskCore

/// The part of a volume that is divided into clusters, which are numbered from 2 on.
struct ClusterHeap: Sendable {
  static let firstNumber: UInt32 = 2

  /// Of cluster 2, in bytes from the volume's start; less than 2⁴⁴.
  let start: UInt64
  /// In bytes, a power of two from 512 to 32 MiB.
  let clusterSize: UInt64
  /// How many clusters there are.
  let count: UInt32

  func contains(_ cluster: UInt32) -> Bool {
    cluster >= Self.firstNumber && cluster - Self.firstNumber < count
  }

  /// Where a cluster starts, in bytes from the volume's start.
  func offset(of cluster: UInt32) -> UInt64 {
    start + UInt64(cluster &- Self.firstNumber) * clusterSize
  }

  /// The cluster that a place in the volume is in; nil outside the heap.
  func cluster(at offset: UInt64) -> UInt32? {
    guard offset >= start, (offset - start) / clusterSize < UInt64(count) else { return nil }
    return Self.firstNumber + UInt32((offset - start) / clusterSize)
  }

  /// How many clusters `bytes` take.
  func clusters(for bytes: UInt64) -> UInt64 {
    bytes / clusterSize + (bytes % clusterSize == 0 ? 0 : 1)
  }

  /// `bytes` rounded up to whole clusters.
  func allocated(for bytes: UInt64) -> UInt64 {
    clusters(for: bytes).multipliedReportingOverflow(by: clusterSize).overflow
      ? bytes : clusters(for: bytes) * clusterSize
  }
}
