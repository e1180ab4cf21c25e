/// An extended L2 entry (qcow2 specification, "Cluster mapping" and "Extended L2 Entries"): where a
/// cluster of the disk is in the file, and which of its 32 subclusters are there.
struct L2Entry: Sendable, Equatable {
  /// The cluster's reference count is exactly 1: it may be written in place.
  static let copied: UInt64 = 1 << 63
  static let compressed: UInt64 = 1 << 62
  /// Bits 9 to 55.
  static let hostMask: UInt64 = 0x00ff_ffff_ffff_fe00

  var descriptor: UInt64
  var bitmap: UInt64

  static let absent = L2Entry(descriptor: 0, bitmap: 0)

  init(descriptor: UInt64, bitmap: UInt64) {
    self.descriptor = descriptor
    self.bitmap = bitmap
  }

  init(host: UInt64, allocated: UInt32, zeros: UInt32) {
    descriptor = host == 0 ? 0 : host | Self.copied
    bitmap = 0
    setSubclusters(allocated: allocated, zeros: zeros)
  }

  mutating func setSubclusters(allocated: UInt32, zeros: UInt32) {
    bitmap = UInt64(allocated) | UInt64(zeros) << 32
  }

  /// 0 where it has no place in the file.
  var host: UInt64 { descriptor & Self.hostMask }
  var isCopied: Bool { descriptor & Self.copied != 0 }
  var isCompressed: Bool { descriptor & Self.compressed != 0 }
  /// A bit for each subcluster that is stored, the first one lowest.
  var allocated: UInt32 { UInt32(truncatingIfNeeded: bitmap) }
  /// A bit for each subcluster that reads as zeros.
  var zeros: UInt32 { UInt32(truncatingIfNeeded: bitmap >> 32) }
}

/// What a subcluster is.
enum SubclusterKind: Sendable, Equatable {
  case stored, zero, below
  /// The whole cluster is.
  case compressed
}

extension L2Entry {
  func kind(_ index: Int) -> SubclusterKind {
    if isCompressed { return .compressed }
    if allocated >> UInt32(index) & 1 != 0 { return .stored }
    return zeros >> UInt32(index) & 1 != 0 ? .zero : .below
  }

  /// How many subclusters from `index` on are of one kind.
  func run(of kind: SubclusterKind, from index: Int) -> Int {
    let mask: UInt32 =
      switch kind {
      case .stored: allocated
      case .zero: zeros
      case .below: ~(allocated | zeros)
      case .compressed: .max
      }
    return (~(mask >> UInt32(index))).trailingZeroBitCount
  }

  /// The bits of subclusters `range`, which lies within 0..<32.
  static func mask(_ range: Range<Int>) -> UInt32 {
    guard !range.isEmpty else { return 0 }
    return (UInt32.max >> UInt32(32 - range.count)) << UInt32(range.lowerBound)
  }
}
