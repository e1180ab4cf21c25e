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
  static func skip(in input: inout StoredInput) throws(DiskError) {
    let what = "a gzip header"
    let flags = try input.next(10, of: what).u8(at: 3)
    if flags & 4 != 0 {
      let count = try input.next(2, of: what).u16(at: 0)
      _ = try input.next(Int(count), of: what)
    }
    // The file's name and a comment, each ended by a NUL.
    for bit in [8, 16] as [UInt8] where flags & bit != 0 {
      var length = 0
      while try input.next(1, of: what).u8(at: 0) != 0 {
        length += 1
        guard length <= longestText else {
          throw input.malformed("a name of more than \(longestText) bytes in a gzip header")
        }
      }
    }
    // Its CRC-16 covers the header only: what would be wrong there is not used.
    if flags & 2 != 0 { _ = try input.next(2, of: what) }
  }
}
