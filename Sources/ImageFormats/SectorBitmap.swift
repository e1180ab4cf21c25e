internal import DiskCore

/// A differencing disk's record of which sectors it holds itself, one bit each, kept as words of 64.
enum SectorBitmap {
  /// Which bit of a word stands for its first sector. With `top` the words are read as big-endian
  /// numbers and with `bottom` as little-endian ones, so that the sectors' order is the bits'.
  enum FirstBit: Sendable { case top, bottom }

  static let sectorsPerWord = 64

  /// Whether the bit of `sector` is set, and for how many sectors from it on that holds: at least 1,
  /// at most `limit`, no further than the page reaches.
  ///
  /// - Parameters:
  ///   - page: the page that holds the word of `sector`.
  ///   - sector: counted from the start of the bitmap that `page` is a part of.
  ///   - limit: at least 1.
  static func run(
    in page: TablePages<UInt64>.Page, from sector: Int, limit: Int, _ first: FirstBit
  ) -> (isSet: Bool, sectors: Int) {
    var word = sector / sectorsPerWord - page.first
    var within = sector % sectorsPerWord
    let mask: UInt64 = first == .top ? (1 << 63) >> UInt64(within) : 1 << UInt64(within)
    let isSet = page.entries[word] & mask != 0
    var count = 0
    while word < page.entries.count, count < limit {
      // The bits that end the run are 1.
      let others = isSet ? ~page.entries[word] : page.entries[word]
      let alike =
        first == .top
        ? (others << UInt64(within)).leadingZeroBitCount
        : (others >> UInt64(within)).trailingZeroBitCount
      let rest = sectorsPerWord - within
      count += min(alike, rest)
      if alike < rest { break }
      word += 1
      within = 0
    }
    return (isSet, min(count, limit))
  }
}
