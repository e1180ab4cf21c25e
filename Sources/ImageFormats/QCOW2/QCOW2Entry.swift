internal import DiskCore

/// The sizes that an image's tables follow from.
struct QCOW2Layout: Sendable {
  let clusterBits: UInt32
  let hasSubclusters: Bool
  /// Whether clusters are in a file of their own, each at its place in the disk.
  let hasDataFile: Bool
  /// Whether bit 0 of an entry says that a cluster is zeros: since version 3.
  let hasZeroClusters: Bool

  var clusterSize: UInt64 { 1 << clusterBits }
  /// How many 64-bit words an L2 table has.
  var wordsPerTable: Int { 1 << Int(clusterBits - 3) }
  var wordsPerEntry: Int { hasSubclusters ? 2 : 1 }
  /// How many clusters an L2 table maps, as a power of two.
  var tableBits: UInt32 { clusterBits - (hasSubclusters ? 4 : 3) }
  /// The size of one of a cluster's 32 subclusters, as a power of two.
  var subclusterBits: UInt32 { clusterBits - 5 }
}

/// What an L2 table's entry says of a cluster, or of a run of its subclusters (docs/interop/
/// qcow2.txt, "Cluster mapping" and "Extended L2 Entries").
struct QCOW2Entry {
  enum Place {
    case unallocated
    case zero
    /// From this byte of the data file on.
    case data(UInt64)
    /// The compressed cluster descriptor: bits 0 to 61.
    case compressed(UInt64)
    case damaged(StaticString)
  }

  let place: Place
  /// For how many bytes; at most to the end of the cluster.
  let length: UInt64

  /// Bit 63: the cluster is referred to once. Bits 62 and 0: it is compressed, it is zeros. Bits 9
  /// to 55: where it is.
  private static let copied: UInt64 = 1 << 63
  private static let compressed: UInt64 = 1 << 62
  private static let zero: UInt64 = 1
  static let offset: UInt64 = 0x00ff_ffff_ffff_fe00

  /// - Parameters:
  ///   - words: of a page of L2 tables.
  ///   - index: where in `words` the entry is.
  ///   - guest: where in the disk the cluster starts.
  ///   - within: where in the cluster to look.
  init(
    _ words: [UInt64], at index: Int, _ layout: QCOW2Layout, guest: UInt64, within: UInt64
  ) {
    let entry = words[index]
    let descriptor = entry & ~Self.copied
    let rest = layout.clusterSize - within
    if descriptor & Self.compressed != 0 {
      place =
        layout.hasDataFile
        ? .damaged("a compressed cluster in an image with a data file")
        : .compressed(descriptor & ~Self.compressed)
      length = rest
      return
    }
    let host = descriptor & Self.offset
    // In a data file the disk's first cluster is at byte 0: then bit 63 says that it is there.
    let isAllocated = host != 0 || (layout.hasDataFile && entry & Self.copied != 0)
    if let damage = Self.damage(
      descriptor, isAllocated: isAllocated, misplaced: layout.hasDataFile && host != guest, layout)
    {
      place = .damaged(damage)
      length = rest
      return
    }
    guard layout.hasSubclusters else {
      place =
        descriptor & Self.zero != 0 ? .zero : isAllocated ? .data(host + within) : .unallocated
      length = rest
      return
    }
    let allocated = UInt32(truncatingIfNeeded: words[index + 1])
    let zeros = UInt32(truncatingIfNeeded: words[index + 1] >> 32)
    guard allocated & zeros == 0, isAllocated || allocated == 0 else {
      place = .damaged(
        isAllocated
          ? "a subcluster that is both allocated and zeros"
          : "a subcluster that is allocated nowhere"
      )
      length = rest
      return
    }
    let first = UInt32(within >> UInt64(layout.subclusterBits))
    let same: UInt32
    if allocated >> first & 1 == 1 {
      (place, same) = (.data(host + within), allocated)
    } else if zeros >> first & 1 == 1 {
      (place, same) = (.zero, zeros)
    } else {
      (place, same) = (.unallocated, ~(allocated | zeros))
    }
    let count = UInt64((~(same >> first)).trailingZeroBitCount)
    length = (UInt64(first) + count) << UInt64(layout.subclusterBits) - within
  }

  private static func damage(
    _ descriptor: UInt64, isAllocated: Bool, misplaced: Bool, _ layout: QCOW2Layout
  ) -> StaticString? {
    if descriptor & ~(offset | zero) != 0 { return "an entry with reserved bits set" }
    if descriptor & zero != 0 {
      if layout.hasSubclusters { return "an entry with reserved bits set" }
      if !layout.hasZeroClusters { return "a zero cluster, which version 2 does not have" }
    }
    if descriptor & offset & (layout.clusterSize - 1) != 0 {
      return "a cluster that does not start where clusters do"
    }
    if isAllocated, misplaced { return "a cluster that is not at its own place in the data file" }
    return nil
  }

  /// Whether `next` goes on where this ends, `length` bytes after its start.
  func continues(after length: UInt64, in next: QCOW2Entry) -> Bool {
    switch (place, next.place) {
    case (.unallocated, .unallocated), (.zero, .zero): true
    case (.data(let start), .data(let other)): start + length == other
    default: false
    }
  }
}
