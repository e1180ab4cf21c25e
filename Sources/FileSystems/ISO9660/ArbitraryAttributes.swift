internal import DiskCore

/// Extended attributes as libisofs keeps them: names and values in turn, cut into components like those
/// of a symbolic link (Arbitrary Attribute Interchange Protocol 2.0).
struct ArbitraryAttributes {
  /// In bytes, of one value; Linux's `XATTR_SIZE_MAX`.
  static let longestValue = 64 << 10

  /// Of names that begin with a byte of this value, in place of it.
  private static let nameSpaces: [UInt8: String] = [
    2: "system.", 3: "user.", 4: "isofs.", 5: "trusted.", 6: "security.",
  ]
  private static let escape: UInt8 = 1

  /// Of all entries in a row: a component can begin in one entry and end in the next.
  private var content: [UInt8] = []

  /// All of `record`'s whose name space is `user`: the others mean something only to the system that wrote
  /// them, and access control lists (which have no name) are of its users.
  static func user(
    of record: ISODirectoryRecord, _ area: SystemUseArea, isRoot: Bool
  ) throws(DiskError) -> [ExtendedAttribute] {
    var found = ArbitraryAttributes()
    try area.forEachEntry(of: record, skipping: isRoot ? 0 : nil) { (entry) throws(DiskError) in
      if entry.signature == .arbitrary { found.content += try entry.rest(from: 5) }
    }
    let components = try found.components(record)
    var attributes: [ExtendedAttribute] = []
    for index in stride(from: 0, to: components.count - 1, by: 2) {
      let name = Self.name(components[index])
      let value = components[index + 1]
      if name.hasPrefix("user."), name.utf8.count > 5, value.count <= longestValue {
        attributes.append(ExtendedAttribute(name, value))
      }
    }
    return attributes
  }

  /// Names and values in turn, each in one piece.
  private func components(_ record: ISODirectoryRecord) throws(DiskError) -> [[UInt8]] {
    let reader = ByteReader(content, path: record.reader.path, base: record.position)
    var components: [[UInt8]] = []
    var isOpen = false
    var place = 0
    while place + 2 <= content.count {
      let flags = try reader.u8(at: place)
      let count = Int(try reader.u8(at: place + 1))
      let piece = try reader.slice(at: place + 2, count: count)
      if isOpen, !components.isEmpty {
        components[components.count - 1] += piece
      } else {
        components.append(Array(piece))
      }
      isOpen = flags & 1 != 0
      place += 2 + count
    }
    return components
  }

  private static func name(_ bytes: [UInt8]) -> String {
    guard let first = bytes.first else { return "" }
    let rest = String(decoding: bytes.dropFirst(), as: UTF8.self)
    if first == escape { return rest }
    if let nameSpace = nameSpaces[first] { return nameSpace + rest }
    return String(decoding: bytes, as: UTF8.self)
  }
}
