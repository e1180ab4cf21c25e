internal import DiskCore

/// What the table says that follows a cluster.
enum ClusterLink: Equatable {
  case next(UInt32)
  case end
  /// Not in use, damaged on the medium, or no cluster of this volume.
  case free, bad
  case outside(UInt32)
}

/// A file allocation table: for each cluster the next one of the same file. Read in pages.
///
/// An entry of every width is a field of bits in a row of little-endian words: entry `n` of FAT12 has
/// the bits from `12 × n` on (Microsoft, "FAT: General Overview of On-Disk Format", page 16).
final class ClusterTable: Sendable {
  enum Width: Int, Sendable {
    case fat12 = 12
    case fat16 = 16
    /// Of which the upper four bits are reserved.
    case fat32 = 28
    /// All 32 bits count.
    case exfat = 32

    var bits: Int { self == .fat32 ? 32 : rawValue }
    var mask: UInt32 { UInt32.max >> UInt32(32 - rawValue) }
    /// What marks a bad cluster; all above it ends a chain.
    var bad: UInt32 { mask - 8 }
  }

  /// The page that a walk is in: its next link is there more often than not.
  struct Held {
    fileprivate var page: ClusterTableCopies.Page?
    /// How many pages the walk has asked for.
    fileprivate(set) var changes = 0

    init() {}
  }

  let heap: ClusterHeap
  private let width: Width
  private let copies: ClusterTableCopies

  var path: String { copies.path }

  /// - Parameter place: a multiple of 4 bytes, and what entries of all of the heap's clusters take.
  /// - Throws: `truncated` where it does not lie within the volume.
  init(
    _ width: Width, in volume: Volume, _ place: ClusterTablePlace, heap: ClusterHeap
  ) throws(DiskError) {
    copies = try ClusterTableCopies(place, in: volume)
    self.width = width
    self.heap = heap
  }

  /// How many clusters a table of so many bytes has entries for.
  static func clusters(_ width: Width, in byteCount: UInt64) -> UInt32 {
    let entries = byteCount / 4 * 32 / UInt64(width.bits)
    return UInt32(clamping: entries < 2 ? 0 : entries - 2)
  }

  /// What follows `cluster`, which is one of the heap's.
  ///
  /// - Throws: where that part of the table cannot be read.
  func link(after cluster: UInt32, _ held: inout Held) throws(DiskError) -> ClusterLink {
    let bit = Int(cluster) * width.bits
    let shift = UInt32(bit % 32)
    var value = try word(bit / 32, &held) >> shift
    if Int(shift) + width.bits > 32 { value |= try word(bit / 32 + 1, &held) << (32 - shift) }
    value &= width.mask
    if heap.contains(value) { return .next(value) }
    if value == 0 { return .free }
    if value == width.bad { return .bad }
    return value > width.bad ? .end : .outside(value)
  }

  /// Where a cluster's entry is in the volume, in bytes.
  func place(of cluster: UInt32) -> UInt64 {
    copies.start + UInt64(cluster) * UInt64(width.bits) / 8
  }

  private func word(_ index: Int, _ held: inout Held) throws(DiskError) -> UInt32 {
    if let page = held.page, index >= page.first, index - page.first < page.words.count {
      return page.words[index - page.first]
    }
    held.changes += 1
    let page = try copies.page(holding: index)
    held.page = page
    return page.words[index - page.first]
  }
}
