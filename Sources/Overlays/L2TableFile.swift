internal import DiskCore

// How the entries of an L2 table stand in the file: extended ones as in memory, standard ones in one
// word (qcow2 specification, "Cluster mapping"; bit 0 of the descriptor says that it reads as zeros).

extension L2Entry {
  private static let zero: UInt64 = 1

  /// What a standard entry says.
  init(standard word: UInt64) {
    descriptor = word
    if word & Self.compressed != 0 {
      bitmap = 0
    } else if word & Self.zero != 0 {
      descriptor &= ~Self.zero
      bitmap = UInt64(UInt32.max) << 32
    } else {
      bitmap = word & Self.hostMask == 0 ? 0 : UInt64(UInt32.max)
    }
  }

  /// A cluster that has a place and nothing stored there is none for a standard entry, which would
  /// say that it is stored: it gets its entry with its content.
  var standard: UInt64 {
    if isCompressed { return descriptor }
    if zeros == .max { return descriptor | Self.zero }
    return allocated == .max ? descriptor : 0
  }
}

extension OverlayGeometry {
  /// The entries of the L2 table at `offset`, two words each.
  func words(
    ofTableAt offset: UInt64, in file: any Storage
  ) throws(DiskError) -> [UInt64] {
    let stored = try file.words(at: offset, count: entriesPerTable * wordsPerEntry)
    guard !hasSubclusters else { return stored }
    var words: [UInt64] = []
    words.reserveCapacity(2 * stored.count)
    for word in stored {
      let entry = L2Entry(standard: word)
      words.append(entry.descriptor)
      words.append(entry.bitmap)
    }
    return words
  }

  /// A table of such words as it is to stand in the file.
  func bytes(ofTable words: [UInt64]) -> [UInt8] {
    guard !hasSubclusters else { return bigEndianBytes(words[...]) }
    let stored = stride(from: 0, to: words.count, by: 2).map { index in
      L2Entry(descriptor: words[index], bitmap: words[index + 1]).standard
    }
    return bigEndianBytes(stored[...])
  }

  /// Where in the file entry `index` of the L2 table at `table` is.
  func place(ofEntry index: Int, inTableAt table: UInt64) -> UInt64 {
    table + UInt64(index * wordsPerEntry * 8)
  }
}

extension L2Table {
  /// The sectors of `set` as they are to stand in the file.
  func placed(_ set: SectorSet) -> [PlacedBytes] {
    guard wordsPerEntry == 1 else { return words.placed(set, at: at) }
    return set.runs(ofWords: count).map { range in
      PlacedBytes(
        at: at + UInt64(range.lowerBound * 8),
        bytes: bigEndianBytes(range.map { self[$0].standard }[...]))
    }
  }
}
