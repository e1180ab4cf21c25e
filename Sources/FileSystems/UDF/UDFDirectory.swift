internal import DiskCore

/// Walks over the file identifiers of a directory (ECMA-167, 4/8.6 and 4/14.4), which stand one behind
/// the other, over the borders of blocks and extents.
struct UDFDirectory {
  /// Of one directory, in bytes: more than a million entries.
  static let mostBytes: UInt64 = 128 << 20
  /// Of an identifier before its parts of any length.
  private static let header = 38
  /// In bytes; the longest identifier has fewer.
  private static let readAtOnce = 68 << 10

  /// Bits of the file characteristics.
  private enum Characteristic {
    static let folder: UInt8 = 1 << 1
    static let deleted: UInt8 = 1 << 2
    static let parent: UInt8 = 1 << 3
  }

  /// One file identifier.
  struct Entry {
    let name: FileName
    let address: UDFAddress
    let isFolder: Bool
  }

  private let content: UDFContent
  private let space: UDFSpace
  /// Part of the directory, and where in it that starts.
  private var buffer = ByteReader([])
  private var start: UInt64 = 0

  init(_ content: UDFContent, _ space: UDFSpace) {
    self.content = content
    self.space = space
  }

  /// Calls `visit` for each file that is in the directory and not deleted, until it returns false.
  ///
  /// - Throws: the first damage, after everything before it was visited.
  mutating func forEachEntry(_ visit: (Entry) -> Bool) throws(DiskError) {
    guard content.size <= Self.mostBytes else {
      throw space.volume.failure(
        .unsupported,
        "a directory of \(content.size) bytes; at most \(Self.mostBytes) are read",
        content.place(of: 0))
    }
    var offset: UInt64 = 0
    while offset < content.size {
      let place = try fill(at: offset, UDFTag.length)
      // Some writers fill the last block with zeros and count them.
      if try buffer.slice(at: place, count: UDFTag.length).allSatisfy({ $0 == 0 }) { return }
      let (entry, length) = try identifier(at: offset)
      if let entry, !visit(entry) { return }
      offset += UInt64(length)
    }
  }

  /// - Returns: nil for the parent and for what was deleted; and how many bytes it takes.
  private mutating func identifier(
    at offset: UInt64
  ) throws(DiskError) -> (entry: Entry?, length: Int) {
    var place = try fill(at: offset, Self.header)
    let nameLength = Int(try buffer.u8(at: place + 19))
    let useLength = Int(try buffer.u16(at: place + 36))
    let length = Self.header + useLength + nameLength
    place = try fill(at: offset, length)
    guard let tag = UDFTag(buffer, at: place), tag.kind == UDFTag.Kind.fileIdentifier else {
      throw space.volume.failure(
        .malformed, "there is no file identifier where a directory's next should be",
        content.place(of: offset))
    }
    if !tag.covers(buffer, at: place) {
      space.volume.notes.add(
        "file identifiers whose checksum is wrong, the first at byte \(content.place(of: offset))",
        as: .identifier)
    }
    // To the next multiple of four.
    let whole = (length + 3) & ~3
    let characteristics = try buffer.u8(at: place + 18)
    guard characteristics & (Characteristic.deleted | Characteristic.parent) == 0 else {
      return (nil, whole)
    }
    let name = try buffer.slice(at: place + Self.header + useLength, count: nameLength)
    let icb = try UDFExtent(buffer, at: place + 20)
    return (
      Entry(
        name: FileName(UDFText.utf8(name)), address: icb.address,
        isFolder: characteristics & Characteristic.folder != 0), whole
    )
  }

  /// Makes `count` bytes from `offset` on stand in the buffer.
  ///
  /// - Returns: where in the buffer.
  private mutating func fill(at offset: UInt64, _ count: Int) throws(DiskError) -> Int {
    if offset >= start, offset - start <= UInt64(buffer.count),
      count <= buffer.count - Int(offset - start)
    {
      return Int(offset - start)
    }
    guard UInt64(count) <= content.size - offset else {
      throw space.volume.failure(
        .malformed, "the directory ends inside a file identifier", content.place(of: offset))
    }
    let most = min(UInt64(Self.readAtOnce), content.size - offset)
    buffer = try content.beginning(at: offset, upTo: Int(most))
    start = offset
    // Where less could be read, this says why.
    if buffer.count < count { buffer = try content.reader(at: offset, count: count) }
    return 0
  }
}
