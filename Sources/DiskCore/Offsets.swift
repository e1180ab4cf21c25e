/// A place in a virtual disk (or in a window, which its reader sees as a disk of its own), in
/// bytes from its start.
///
/// Offsets in a disk and offsets in a file are different types, so that one cannot be passed for
/// the other: a driver is what turns the first into the second.
public struct DiskOffset: Hashable, Comparable, Sendable {
  public let bytes: UInt64

  public init(_ bytes: UInt64) { self.bytes = bytes }

  public static let start = DiskOffset(0)

  public static func < (a: DiskOffset, b: DiskOffset) -> Bool { a.bytes < b.bytes }

  /// For distances inside a disk whose size was checked against `Limits.largestDisk`, where the sum
  /// cannot overflow. For numbers straight from an image there is `adding(_:)`.
  public static func + (a: DiskOffset, distance: UInt64) -> DiskOffset {
    DiskOffset(a.bytes + distance)
  }

  /// The sum, or nil where it does not fit in 64 bits.
  public func adding(_ distance: UInt64) -> DiskOffset? {
    let (sum, overflow) = bytes.addingReportingOverflow(distance)
    return overflow ? nil : DiskOffset(sum)
  }
}

/// A place in a stored file, in bytes from its start.
public struct FileOffset: Hashable, Comparable, Sendable {
  public let bytes: UInt64

  public init(_ bytes: UInt64) { self.bytes = bytes }

  public static let start = FileOffset(0)

  public static func < (a: FileOffset, b: FileOffset) -> Bool { a.bytes < b.bytes }

  /// For distances inside a file whose size was checked; see `DiskOffset.+`.
  public static func + (a: FileOffset, distance: UInt64) -> FileOffset {
    FileOffset(a.bytes + distance)
  }

  /// The sum, or nil where it does not fit in 64 bits.
  public func adding(_ distance: UInt64) -> FileOffset? {
    let (sum, overflow) = bytes.addingReportingOverflow(distance)
    return overflow ? nil : FileOffset(sum)
  }
}
