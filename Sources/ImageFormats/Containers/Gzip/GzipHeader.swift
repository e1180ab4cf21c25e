internal import Decoders
internal import DiskCore

/// What stands before a member's deflate data (RFC 1952, section 2.3).
enum GzipHeader {
  static let magic: [UInt8] = [0x1f, 0x8b, 8]
  /// The last three bits are reserved; none may be set.
  private static let reserved: UInt8 = 0xe0
  /// A name or comment that is longer is no name.
  private static let longestText = 1 << 16

  /// Whether bytes can be the start of a member.
  static func fits(_ head: ByteReader) -> Bool {
    guard head.matches(magic, at: 0), let flags = try? head.u8(at: 3) else { return false }
    return flags & reserved == 0
  }

  static func isNext(in input: inout StoredInput) throws(DiskError) -> Bool {
    fits(ByteReader(Array(try input.peek(10))))
  }

  /// Goes past the header that comes next.
  ///
  /// - Parameters:
  ///   - position: how many decoded bytes come before it.
  ///   - findings: as for `StreamCodec.cursor`.
  static func skip(
    in input: inout StoredInput, at position: UInt64, _ findings: StreamFindings?
  ) throws(DiskError) {
    let what = "a gzip header"
    var checksum: UInt32 = 0
    func next(_ count: Int) throws(DiskError) -> ByteReader {
      let reader = try input.next(count, of: what)
      checksum = CRC32.of(unsafe reader.bytes.span.bytes, after: checksum)
      return reader
    }
    let flags = try next(10).u8(at: 3)
    if flags & 4 != 0 { _ = try next(Int(next(2).u16(at: 0))) }
    // The file's name and a comment, each ended by a NUL.
    for bit in [8, 16] as [UInt8] where flags & bit != 0 {
      var length = 0
      while try next(1).u8(at: 0) != 0 {
        length += 1
        guard length <= longestText else {
          throw input.malformed("a name of more than \(longestText) bytes in a gzip header")
        }
      }
    }
    guard flags & 2 != 0 else { return }
    // Its CRC-16 covers the header only: what would be wrong there is not used.
    let place = input.place
    let recorded = try input.next(2, of: what).u16(at: 0)
    guard let findings else { return }
    try Optional(findings).compare(
      recorded == UInt16(truncatingIfNeeded: checksum), "header CRC-16", over: position..<position,
      input.malformed("the checksum of a gzip header is wrong", at: place))
  }
}
