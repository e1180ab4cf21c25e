internal import DiskCore

/// The stored bytes of a folder, piece by piece in order.
struct FolderPieces {
  /// In bytes.
  private static let largestPiece: UInt64 = 64 << 10
  /// Entries of FAT and exFAT do not cross it.
  private static let sector: UInt64 = 512

  enum Place {
    /// In bytes from the volume's start: the root of FAT12 and FAT16.
    case region(start: UInt64, count: UInt64)
    case clusters(ClusterRuns, of: ClusterHeap)
  }

  let volume: Volume
  let place: Place
  /// What no folder may be longer than, in bytes.
  let longest: UInt64

  /// Calls `visit` for each piece, a multiple of 32 bytes, until it returns false.
  ///
  /// - Throws: `malformed` where the folder's clusters are damaged or more than a folder may have, and
  ///   what reading throws; after everything before that was visited.
  func visitAll(
    _ visit: (ByteReader) throws(DiskError) -> Bool
  ) throws(DiskError) {
    switch place {
    case .region(let start, let count):
      _ = try pieces(from: start, count: min(count, longest), visit)
    case .clusters(let runs, let heap):
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
            from: heap.offset(of: first), count: few * heap.clusterSize, visit)
          guard goesOn else { return }
          index += few
        }
      }
    }
  }

  private func pieces(
    from start: UInt64, count: UInt64, _ visit: (ByteReader) throws(DiskError) -> Bool
  ) throws(DiskError) -> Bool {
    var done: UInt64 = 0
    while done < count {
      let piece = min(Self.largestPiece, count - done)
      var step = piece
      var within: UInt64 = 0
      while within < piece {
        let place = DiskOffset(start + done + within)
        let reader: ByteReader
        do throws(DiskError) {
          reader = try read(at: place, count: min(step, piece - within))
        } catch {
          // Up to the sector that cannot be read.
          guard step > Self.sector else { throw error }
          step = Self.sector
          continue
        }
        guard try visit(reader) else { return false }
        within += step
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
