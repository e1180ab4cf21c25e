internal import DiskCore

/// The resource fork that older DMGs have in place of a property list (Inside Macintosh: More Macintosh
/// Toolbox, "Resource File Format"; big-endian).
enum DMGResourceFork {
  static let largest: UInt64 = 8 << 20
  /// An image has one for each partition and for each partition table.
  static let mostTables = 1024

  /// The resources of type `blkx` in it, in order.
  ///
  /// - Throws: `unsupported` for a larger fork, `malformed` or `truncated` for what is no such fork.
  static func tables(
    in source: any Storage, at place: Range<UInt64>
  ) throws(DiskError) -> [DMGTableBytes] {
    func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(kind, message, path: source.path, offset: place.lowerBound)
    }
    guard place.count <= largest else {
      throw failure(
        .unsupported, "a resource fork of \(place.count) bytes; no more than \(largest) are read")
    }
    let fork = try source.reader(at: FileOffset(place.lowerBound), count: place.count)
    let data = Int(try fork.u32(at: 0, .big))
    let map = Int(try fork.u32(at: 4, .big))
    let types = map + Int(try fork.u16(at: map + 24, .big))
    let names = map + Int(try fork.u16(at: map + 26, .big))
    var tables: [DMGTableBytes] = []
    var total = 0
    // Both counts are one less than there are; 65,535 types stand for none.
    let typeCount = Int(try fork.u16(at: types, .big) &+ 1)
    for type in 0..<typeCount {
      let entry = types + 2 + 8 * type
      guard try fork.slice(at: entry, count: 4).elementsEqual("blkx".utf8) else { continue }
      let references = types + Int(try fork.u16(at: entry + 6, .big))
      for index in 0..<Int(try fork.u16(at: entry + 4, .big)) + 1 {
        let reference = references + 12 * index
        let start = data + Int(try fork.u32(at: reference + 4, .big) & 0xff_ffff)
        let count = Int(try fork.u32(at: start, .big))
        let bytes = Array(try fork.slice(at: start + 4, count: count))
        tables.append(
          DMGTableBytes(
            name: try name(in: fork, at: names, Int(fork.u16(at: reference + 2, .big))),
            reader: ByteReader(
              bytes, path: source.path, base: place.lowerBound + UInt64(start) + 4)))
        // The same bytes can stand for any number of tables.
        total += count
        guard total <= Int(largest), tables.count <= mostTables else {
          throw failure(
            .malformed, "its resource fork holds more than \(mostTables) block tables, or one twice"
          )
        }
      }
    }
    guard !tables.isEmpty else {
      throw failure(.malformed, "its resource fork holds no block tables")
    }
    return tables
  }

  /// A name is a length and so many bytes; 65,535 stands for none.
  private static func name(
    in fork: ByteReader, at names: Int, _ offset: Int
  ) throws(DiskError) -> String {
    guard offset != 0xffff else { return "" }
    return try fork.text(at: names + offset + 1, count: Int(fork.u8(at: names + offset)))
  }
}
