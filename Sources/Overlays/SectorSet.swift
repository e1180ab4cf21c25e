/// Which 512-byte sectors of a table differ from the file. A sector is what a disk writes wholly or
/// not at all, and no entry lies across two.
struct SectorSet: Sendable {
  static let size = 512
  static let wordsPerSector = size / 8

  private var bits: [UInt64]
  private(set) var isEmpty = true

  /// - Parameter words: how many words of 8 bytes the table has.
  init(words: Int) {
    let sectors = (words + Self.wordsPerSector - 1) / Self.wordsPerSector
    bits = [UInt64](repeating: 0, count: (sectors + 63) / 64)
  }

  /// Word `index` has changed.
  mutating func insert(word index: Int) {
    let sector = index / Self.wordsPerSector
    bits[sector / 64] |= 1 << UInt64(sector % 64)
    isEmpty = false
  }

  mutating func formUnion(_ other: SectorSet) {
    for index in bits.indices where index < other.bits.count { bits[index] |= other.bits[index] }
    isEmpty = isEmpty && other.isEmpty
  }

  /// The set as it was; it is empty then.
  mutating func takeAll() -> SectorSet {
    let taken = self
    if !isEmpty {
      for index in bits.indices { bits[index] = 0 }
      isEmpty = true
    }
    return taken
  }

  /// Neighbouring sectors as ranges of words of a table that has `count`.
  func runs(ofWords count: Int) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for (index, word) in bits.enumerated() where word != 0 {
      for bit in 0..<64 where word & (1 << UInt64(bit)) != 0 {
        let first = (index * 64 + bit) * Self.wordsPerSector
        let range = first..<min(count, first + Self.wordsPerSector)
        if let last = runs.last, last.upperBound == first {
          runs[runs.count - 1] = last.lowerBound..<range.upperBound
        } else {
          runs.append(range)
        }
      }
    }
    return runs
  }
}

/// Bytes for a place in the file.
struct PlacedBytes: Sendable {
  let at: UInt64
  let bytes: [UInt8]
}

extension [UInt64] {
  /// The sectors of `set` of this table, which lies at `offset` in the file.
  func placed(_ set: SectorSet, at offset: UInt64) -> [PlacedBytes] {
    set.runs(ofWords: count).map { range in
      PlacedBytes(at: offset + UInt64(range.lowerBound * 8), bytes: bigEndianBytes(self[range]))
    }
  }
}
