internal import DiskCore

/// gzip files, of one or more members. Source: RFC 1952.
struct GzipContainer: ContainerFormat {
  var name: String { "gzip" }

  func fits(_ head: ByteReader) -> Bool { GzipHeader.fits(head) }

  func open(_ source: any Storage) throws(DiskError) -> ContainedStream {
    ContainedStream(GzipCodec(source: source), EntryPoints(), size: try Self.size(of: source))
  }

  /// Deflate makes at most 258 bytes of two bits.
  private static let largestRatio: UInt64 = 1032

  /// What the last member's length, which is kept mod 2³², allows for the whole, if there is but one.
  private static func size(of source: any Storage) throws(DiskError) -> ExpectedSize {
    guard source.size >= 18 else { return .unknown }
    // Inside another container its end can be far.
    guard source.way(to: FileOffset(source.size - 8), count: 8) <= Limits.shortWay else {
      return .unknown
    }
    let trailer = try source.reader(at: FileOffset(source.size - 8), count: 8)
    let length = UInt64(try trailer.u32(at: 4))
    // Zeros behind the last member.
    let checksum = try trailer.u32(at: 0)
    guard length != 0 || checksum != 0 else { return .unknown }
    // Deflate adds five bytes to 65,535 that it cannot compress; zlib's smallest blocks add more.
    let least = source.size - source.size / 64 - min(source.size * 63 / 64, 64)
    let most = source.size.multipliedReportingOverflow(by: largestRatio)
    return .oneOf(
      length, step: 1 << 32,
      in: least...(most.overflow ? Limits.largestDisk : min(most.partialValue, Limits.largestDisk)))
  }
}
