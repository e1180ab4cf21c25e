internal import DiskCore

/// The stored bytes of a folder, piece by piece in order.
struct FolderPieces {
  /// In bytes.
  private static let largestPiece: UInt64 = 64 << 10
  /// Entries of FAT and exFAT do not cross it.
  private static let sector: UInt64 = 512
  /// How many sectors of one folder that cannot be read are passed over; each can take a drive seconds.
  private static let mostUnreadable = 64

  enum Place {
    /// In bytes from the volume's start: the root of FAT12 and FAT16.
    case region(start: UInt64, count: UInt64)
    case clusters(ClusterRuns, of: ClusterHeap)
  }

  /// What could not be read on the way.
  private struct Gaps {
    var first: DiskError?
    var count = 0
  }

  let volume: Volume
  let place: Place
  /// What no folder may be longer than, in bytes.
  let longest: UInt64

  /// Calls `visit` for each piece, a multiple of 32 bytes, until it returns false. Sectors that cannot be
  /// read are passed over, as Linux does.
  ///
  /// - Throws: `malformed` where the folder's clusters are damaged or more than a folder may have, and
  ///   what reading threw first; after everything else was visited.
  func visitAll(
    _ visit: (ByteReader) throws(DiskError) -> Bool
  ) throws(DiskError) {
    var gaps = Gaps()
    switch place {
    case .region(let start, let count):
      _ = try pieces(from: start, count: min(count, longest), &gaps, visit)
    case .clusters(let runs, let heap):
      try clusters(runs, of: heap, &gaps, visit)
    }
    if let first = gaps.first { throw first }
  }

  private func clusters(
    _ runs: ClusterRuns, of heap: ClusterHeap, _ gaps: inout Gaps,
    _ visit: (ByteReader) throws(DiskError) -> Bool
  ) throws(DiskError) {
    var index: UInt64 = 0
    let most = heap.clusters(for: longest)
    while true {
      switch try runs.run(at: index, limit: most) {
      case .end: return
      case .damage(let error): throw error
      case .clusters(let first, let count):
        let few = min(count, most - min(most, index))
        guard few > 0 else {
          throw DiskError(
            .malformed, "a folder of more than \(longest) bytes", path: volume.storage.path,
            offset: heap.offset(of: first))
        }
        let goesOn = try pieces(
          from: heap.offset(of: first), count: few * heap.clusterSize, &gaps, visit)
        guard goesOn else { return }
        index += few
      }
    }
  }

  private func pieces(
    from start: UInt64, count: UInt64, _ gaps: inout Gaps,
    _ visit: (ByteReader) throws(DiskError) -> Bool
  ) throws(DiskError) -> Bool {
    var done: UInt64 = 0
    while done < count {
      let piece = min(Self.largestPiece, count - done)
      var step = piece
      var within: UInt64 = 0
      while within < piece {
        let size = min(step, piece - within)
        let reader: ByteReader
        do throws(DiskError) {
          reader = try read(at: DiskOffset(start + done + within), count: size)
        } catch {
          // Then only the sector that cannot be read.
          if step > Self.sector {
            step = Self.sector
          } else {
            gaps.first = gaps.first ?? error
            gaps.count += 1
            guard gaps.count < Self.mostUnreadable else { throw error }
            within += size
          }
          continue
        }
        guard try visit(reader) else { return false }
        within += size
      }
      done += piece
    }
    return true
  }

  private func read(at place: DiskOffset, count: UInt64) throws(DiskError) -> ByteReader {
    guard place.bytes < volume.size, count <= volume.size - place.bytes else {
      throw DiskError(
        .truncated, "the volume ends before this part of a folder", path: volume.storage.path,
        offset: place.bytes)
    }
    return try volume.reader(at: place, count: Int(count))
  }
}
