internal import DiskCore

/// The property list of a DMG: a copy of its resource fork as XML (libmodi's "Mac OS disk image types",
/// "UDIF XML plist").
enum DMGPropertyList {
  /// Enough for 150,000 chunks: 38 GB in the small chunks of 256 KiB that old images have, four times
  /// as much in those of today.
  static let largest: UInt64 = 8 << 20

  /// The block tables in it, in order.
  ///
  /// - Throws: `unsupported` for a larger list, `malformed` for what is no such list.
  static func tables(
    in source: any Storage, at place: Range<UInt64>
  ) throws(DiskError) -> [DMGTableBytes] {
    func failure(_ kind: DiskError.Kind, _ message: String) -> DiskError {
      DiskError(kind, message, path: source.path, offset: place.lowerBound)
    }
    guard place.count <= largest else {
      throw failure(
        .unsupported, "a property list of \(place.count) bytes; no more than \(largest) are read")
    }
    let root = try SmallXML.document(
      source.reader(at: FileOffset(place.lowerBound), count: place.count),
      limits: .init(bytes: largest))
    guard root.name == "plist", let content = root.child("dict") else {
      throw failure(.malformed, "its XML is no property list")
    }
    guard let fork = value("resource-fork", of: content),
      let entries = value("blkx", of: fork)?.children("dict"), !entries.isEmpty
    else { throw failure(.malformed, "its property list names no block tables") }
    var tables: [DMGTableBytes] = []
    for entry in entries {
      guard let data = value("Data", of: entry)?.text, let bytes = Base64.decoded(data) else {
        throw failure(.malformed, "a block table of its property list is no Base64")
      }
      let name = value("CFName", of: entry) ?? value("Name", of: entry)
      tables.append(
        DMGTableBytes(
          name: name?.text ?? "",
          reader: ByteReader(bytes, path: source.path, base: place.lowerBound)))
    }
    return tables
  }

  /// What stands behind the key of that name.
  private static func value(_ key: String, of dict: SmallXML.Element) -> SmallXML.Element? {
    let found = dict.children.firstIndex { $0.name == "key" && $0.text == key }
    guard let found, found + 1 < dict.children.count else { return nil }
    return dict.children[found + 1]
  }
}
