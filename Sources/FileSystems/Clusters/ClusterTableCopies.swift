internal import DiskCore
internal import Synchronization

/// Where a file allocation table is in its volume, and where the other copies of it are.
struct ClusterTablePlace: Sendable {
  /// In bytes from the volume's start, the one to be read first; those behind it stand in for what cannot
  /// be read of those before. At least one.
  let starts: [UInt64]
  /// In bytes, of each; the last one can end earlier, with the volume.
  let byteCount: UInt64
}

/// The words of a file allocation table, of whichever copy can be read: in pages of 64 KiB, and where one
/// of those cannot be read whole, sector by sector from each copy in turn.
final class ClusterTableCopies: Sendable {
  /// In bytes: what one fault costs.
  private static let sector: UInt64 = 512
  private static let wordsPerSector = 128
  private static let wordsPerPage = 65536 / 4
  /// How many places that cannot be read are remembered.
  private static let mostUnreadable = 4096

  /// Words that were read together.
  struct Page {
    /// The index of `words[0]` in the table.
    let first: Int
    let words: [UInt32]
  }

  let path: String
  /// Of the first copy.
  let start: UInt64
  private let place: ClusterTablePlace
  private let volumeSize: UInt64
  private let pages: PagedTable<UInt32>
  private let sectors: TablePages<UInt32>
  /// Pages, by their numbers, and sectors of which another copy was read, by their places: asked for once
  /// more, a drive would try again for seconds.
  private let unreadable = Mutex((pages: Set<Int>(), sectors: Set<UInt64>()))

  /// - Throws: `truncated` where the first copy does not lie within the volume.
  init(_ place: ClusterTablePlace, in volume: Volume) throws(DiskError) {
    self.place = place
    start = place.starts[0]
    volumeSize = volume.size
    path = volume.storage.path
    pages = try PagedTable(
      in: volume.storage, at: FileOffset(start), count: Int(clamping: place.byteCount / 4), .little)
    sectors = TablePages(in: volume.storage, entriesPerTable: Self.wordsPerSector, .little)
  }

  /// The words around number `index`.
  ///
  /// - Throws: where no copy of that sector can be read.
  func page(holding index: Int) throws(DiskError) -> Page {
    guard index < pages.count else {
      throw DiskError(.truncated, "the file allocation table ends too early", path: path)
    }
    let number = index / Self.wordsPerPage
    if !unreadable.withLock({ $0.pages.contains(number) }) {
      if let page = try? pages.page(holding: index) {
        return Page(first: page.first, words: page.entries)
      }
      unreadable.withLock { kept in
        if kept.pages.count >= Self.mostUnreadable { kept.pages = [] }
        kept.pages.insert(number)
      }
    }
    return try sector(holding: index)
  }

  private func sector(holding index: Int) throws(DiskError) -> Page {
    let number = index / Self.wordsPerSector
    let known = unreadable.withLock { $0.sectors }
    var failed: [UInt64] = []
    var failure: DiskError?
    for start in place.starts {
      let at = start + UInt64(number) * Self.sector
      guard at < volumeSize, volumeSize - at >= Self.sector, !known.contains(at) else { continue }
      do throws(DiskError) {
        let found = try sectors.page(
          ofTableAt: FileOffset(at), holding: index % Self.wordsPerSector)
        if !failed.isEmpty { remember(failed) }
        return Page(first: number * Self.wordsPerSector, words: found.entries)
      } catch {
        failed.append(at)
        failure = failure ?? error
      }
    }
    throw failure
      ?? DiskError(.truncated, "the volume ends inside its file allocation table", path: path)
  }

  private func remember(_ sectors: [UInt64]) {
    unreadable.withLock { kept in
      if kept.sectors.count >= Self.mostUnreadable { kept.sectors = [] }
      kept.sectors.formUnion(sectors)
    }
  }
}
