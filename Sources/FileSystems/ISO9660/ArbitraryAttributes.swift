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

  private var components: [[UInt8]] = []
  private var isOpen = false

  /// All of `record`'s whose name space is `user`: the others mean something only to the system that wrote
  /// them, and access control lists (which have no name) are of its users.
  static func user(
    of record: ISODirectoryRecord, _ area: SystemUseArea, isRoot: Bool
  ) throws(DiskError) -> [ExtendedAttribute] {
    var found = ArbitraryAttributes()
    try area.forEachEntry(of: record, skipping: isRoot ? 0 : nil) { (entry) throws(DiskError) in
      if entry.signature == "AL" { try found.take(entry) }
    }
    var attributes: [ExtendedAttribute] = []
    for index in stride(from: 0, to: found.components.count - 1, by: 2) {
      let name = Self.name(found.components[index])
      let value = found.components[index + 1]
      if name.hasPrefix("user."), name.utf8.count > 5, value.count <= longestValue {
        attributes.append(ExtendedAttribute(name, value))
      }
    }
    return attributes
  }

  private mutating func take(_ entry: SystemUseEntry) throws(DiskError) {
    var place = 5
    while place + 2 <= entry.length {
      let flags = try entry.reader.u8(at: place)
      let count = Int(try entry.reader.u8(at: place + 1))
      let content = try entry.reader.slice(at: place + 2, count: count)
      if isOpen, !components.isEmpty {
        components[components.count - 1] += content
      } else {
        components.append(Array(content))
      }
      isOpen = flags & 1 != 0
      place += 2 + count
    }
  }

  private static func name(_ bytes: [UInt8]) -> String {
    guard let first = bytes.first else { return "" }
    let rest = String(decoding: bytes.dropFirst(), as: UTF8.self)
    if first == escape { return rest }
    if let nameSpace = nameSpaces[first] { return nameSpace + rest }
    return String(decoding: bytes, as: UTF8.self)
  }
}
