internal import DiskCore

/// The central directory of a ZIP archive (PKWARE's APPNOTE.TXT 6.3.10; little-endian).
enum ZIPDirectory {
  struct Member {
    let name: String
    let flags: UInt16
    let method: UInt16
    /// Of the uncompressed bytes.
    let checksum: UInt32
    let storedSize: UInt64
    let size: UInt64
    /// Of its local header.
    let header: UInt64
  }

  /// What is read of one: an archive with a larger directory holds thousands of files.
  static let largest: UInt64 = 1 << 20
  /// Its end record, and the longest comment behind it.
  private static let endBytes: UInt64 = 22
  private static let longestComment: UInt64 = 65_535

  /// What the archive's end says.
  private struct End {
    var count: UInt64
    var size: UInt64
    var start: UInt64
  }

  /// All members, in the directory's order.
  ///
  /// - Throws: `malformed` or `truncated` where the directory is damaged or missing, `unsupported` for
  ///   one that is larger or in another file.
  static func members(of source: any Storage) throws(DiskError) -> [Member] {
    let end = try end(of: source)
    guard end.size <= largest else {
      throw DiskError(
        .unsupported, "a directory of \(end.size) bytes; no more than \(largest) are read",
        path: source.path, offset: end.start)
    }
    guard end.start <= source.size, end.size <= source.size - end.start else {
      throw DiskError(
        .truncated, "its directory does not lie within the file", path: source.path,
        offset: end.start)
    }
    let reader = try source.reader(at: FileOffset(end.start), count: Int(end.size))
    var members: [Member] = []
    var place = 0
    while members.count < end.count {
      guard reader.matches([0x50, 0x4b, 1, 2], at: place) else {
        throw DiskError(
          .malformed, "an entry of its directory has no signature", path: source.path,
          offset: end.start + UInt64(place))
      }
      members.append(try member(reader, at: place))
      place +=
        46 + Int(try reader.u16(at: place + 28)) + Int(try reader.u16(at: place + 30))
        + Int(try reader.u16(at: place + 32))
    }
    return members
  }

  /// Section 4.3.12.
  private static func member(_ reader: ByteReader, at place: Int) throws(DiskError) -> Member {
    let nameLength = Int(try reader.u16(at: place + 28))
    let extraLength = Int(try reader.u16(at: place + 30))
    var size = UInt64(try reader.u32(at: place + 24))
    var storedSize = UInt64(try reader.u32(at: place + 20))
    var header = UInt64(try reader.u32(at: place + 42))
    // Section 4.5.3: those that are too large stand, in this order, in the ZIP64 field.
    var extra = place + 46 + nameLength
    let extraEnd = extra + extraLength
    while extra + 4 <= extraEnd {
      let (tag, length) = (try reader.u16(at: extra), Int(try reader.u16(at: extra + 2)))
      if tag == 1 {
        var field = extra + 4
        func next(_ value: inout UInt64) throws(DiskError) {
          guard value == 0xffff_ffff, field + 8 <= extra + 4 + length else { return }
          value = try reader.u64(at: field)
          field += 8
        }
        try next(&size)
        try next(&storedSize)
        try next(&header)
      }
      extra += 4 + length
    }
    return Member(
      name: try reader.text(at: place + 46, count: nameLength),
      flags: try reader.u16(at: place + 8), method: try reader.u16(at: place + 10),
      checksum: try reader.u32(at: place + 16), storedSize: storedSize, size: size, header: header)
  }

  /// Sections 4.3.14 to 4.3.16.
  private static func end(of source: any Storage) throws(DiskError) -> End {
    let count = min(endBytes + longestComment, source.size)
    let start = source.size - count
    let tail = try source.reader(at: FileOffset(start), count: Int(count))
    // The last one whose comment ends with the file; a comment can hold anything.
    let found = (0...max(0, Int(count) - Int(endBytes))).last { place in
      guard tail.matches([0x50, 0x4b, 5, 6], at: place),
        let comment = try? tail.u16(at: place + 20)
      else { return false }
      return place + Int(endBytes) + Int(comment) == Int(count)
    }
    guard let found else {
      throw DiskError(
        .truncated, "its ZIP directory is missing: the archive was cut off", path: source.path,
        offset: source.size)
    }
    guard try tail.u16(at: found + 4) == tail.u16(at: found + 6) else {
      throw DiskError(
        .unsupported, "is the last part of a ZIP archive in several files", path: source.path,
        offset: start + UInt64(found))
    }
    let end = End(
      count: UInt64(try tail.u16(at: found + 10)), size: UInt64(try tail.u32(at: found + 12)),
      start: UInt64(try tail.u32(at: found + 16)))
    let locator = found - 20
    guard locator >= 0, tail.matches([0x50, 0x4b, 6, 7], at: locator) else { return end }
    let place = try tail.u64(at: locator + 8)
    guard place <= source.size, source.size - place >= 56 else {
      throw DiskError(
        .truncated, "its ZIP64 end record does not lie within the file", path: source.path,
        offset: start + UInt64(locator))
    }
    let record = try source.reader(at: FileOffset(place), count: 56)
    guard record.matches([0x50, 0x4b, 6, 6], at: 0) else {
      throw DiskError(
        .malformed, "its ZIP64 end record has no signature", path: source.path, offset: place)
    }
    return End(
      count: try record.u64(at: 32), size: try record.u64(at: 40), start: try record.u64(at: 48))
  }
}
