internal import DiskCore

/// The text that says what a disk is made of (Virtual Disk Format 5.0, "The Descriptor File"): a file
/// of its own, or embedded in a sparse extent.
struct VMDKDescriptor: Sendable {
  /// QEMU reads no more of it either. The text of the largest disk, in 4,096 extents, is a quarter.
  static let mostBytes = 1 << 20
  /// A disk of 8 TiB in extents of 2 GiB. Each extent's file is held open.
  static let mostExtents = 4096

  /// Twice as many as `mostExtents` need: where a parent is missing, many descriptors are looked into.
  static let mostLines = 16_384

  private let values: [String: String]
  let extents: [VMDKExtentLine]
  private let path: String?
  /// Where it starts in its file.
  let place: FileOffset

  /// - Parameter text: up to its end or its first NUL.
  /// - Throws: `malformed` where there is nothing of a descriptor in it, or a line is damaged;
  ///   `unsupported` for more extents than `mostExtents` or lines than `mostLines`.
  init(_ text: ByteReader) throws(DiskError) {
    var values: [String: String] = [:]
    var extents: [VMDKExtentLine] = []
    for (number, line) in VMDKLines(text.bytes).enumerated() {
      guard number < Self.mostLines else {
        throw DiskError(
          .unsupported, "the descriptor has more than \(Self.mostLines) lines", path: text.path,
          offset: text.base + UInt64(line.startIndex))
      }
      guard let first = line.first, first != UInt8(ascii: "#") else { continue }
      if let extent = try VMDKExtentLine(line, in: text) {
        guard extents.count < Self.mostExtents else {
          throw DiskError(
            .unsupported, "the descriptor names more than \(Self.mostExtents) extents",
            path: text.path, offset: extent.place.bytes)
        }
        extents.append(extent)
      } else if let (key, value) = Self.pair(line), values[key] == nil {
        values[key] = value
      }
    }
    guard !values.isEmpty || !extents.isEmpty else {
      throw DiskError(
        .malformed, "the descriptor is damaged: it names neither a type of disk nor an extent",
        path: text.path, offset: text.base)
    }
    self.values = values
    self.extents = extents
    path = text.path
    place = FileOffset(text.base)
  }

  var createType: String? { values["createtype"] }
  var adapterType: String? { values["ddb.adaptertype"] }
  var parentHint: String? { values["parentfilenamehint"] }

  /// By what VMware writes of an encrypted disk: `encryptionKeys`, `keyID`, and the I/O filter of
  /// vSphere.
  var isEncrypted: Bool {
    values["encryption"] != nil || values["ddb.iofilters"]?.contains("vmcrypt") == true
      || values["iofilters"]?.contains("vmcrypt") == true
  }

  /// The number that changes with the disk's content, in eight hexadecimal digits.
  func contentID(_ key: VMDKContentID) throws(DiskError) -> String? {
    guard let text = values[key.rawValue] else { return nil }
    guard let value = UInt32(text, radix: 16) else {
      throw DiskError(
        .malformed,
        "the descriptor's \(key.name) is '\(printable(text))', not a number in "
          + "hexadecimal", path: path, offset: place.bytes)
    }
    return hexadecimal(value, digits: 8)
  }

  /// What VirtualBox calls the image, or the one that it was made on; nil where there is none.
  func uuid(_ key: VMDKUUID) -> String? {
    guard let text = values[key.rawValue]?.lowercased(),
      text.contains(where: { $0 != "0" && $0 != "-" })
    else { return nil }
    return text
  }

  /// The keys that are looked at; a descriptor may hold any others.
  private static let known: Set<String> = [
    "createtype", "parentfilenamehint", "ddb.adaptertype", "ddb.iofilters", "iofilters",
    VMDKContentID.own.rawValue, VMDKContentID.parent.rawValue, VMDKUUID.own.rawValue,
    VMDKUUID.parent.rawValue,
  ]

  /// Of these and of the keys of encrypted disks, in lower case.
  private static let initials = Array("cdeikp".utf8)

  /// `key = "value"`, the key in lower case; nil for any other line and for keys that say nothing
  /// here.
  private static func pair(_ line: ArraySlice<UInt8>) -> (String, String)? {
    guard let equals = line.firstIndex(of: UInt8(ascii: "=")), equals - line.startIndex <= 64 else {
      return nil
    }
    // Most lines of a large text are of no interest: no string is made of them.
    guard let first = line.first, initials.contains(first | 0x20) else { return nil }
    let key = VMDKText.decode(VMDKText.trimmed(line[..<equals])).lowercased()
    if key.hasPrefix("encryption") || key == "keyid" {
      return ("encryption", "")
    }
    guard known.contains(key) else { return nil }
    var value = VMDKText.trimmed(line[(equals + 1)...])
    if value.first == UInt8(ascii: "\"") {
      value.removeFirst()
      value = value[..<(value.firstIndex(of: UInt8(ascii: "\"")) ?? value.endIndex)]
    }
    return (key, VMDKText.decode(value))
  }
}

enum VMDKContentID: String, Sendable {
  case own = "cid"
  case parent = "parentcid"

  var name: String { self == .own ? "CID" : "parentCID" }
  /// The parent's where there is no parent.
  static let none = "ffffffff"
}

enum VMDKUUID: String, Sendable {
  case own = "ddb.uuid.image"
  case parent = "ddb.uuid.parent"
}
