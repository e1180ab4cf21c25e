internal import DiskCore

/// The sets of names that a disc can have, and how the bytes of a directory record become one.
enum ISONames {
  case rockRidge(SystemUseArea)
  case joliet
  /// ISO 9660:1999's, of up to 207 bytes.
  case enhanced
  case plain

  var description: String {
    switch self {
    case .rockRidge: "Rock Ridge"
    case .joliet: "Joliet"
    case .enhanced: "ISO 9660:1999"
    case .plain: "ISO 9660"
    }
  }

  /// The name of a record that has no other by Rock Ridge.
  func name(of record: ISODirectoryRecord) -> FileName {
    let stored = Array(record.name)
    switch self {
    case .rockRidge, .plain: return FileName(Self.plain(stored))
    case .joliet: return FileName(Self.joliet(stored))
    case .enhanced:
      return FileName(stored.suffix(2) == [0x3B, 0x31] ? Array(stored.dropLast(2)) : stored)
    }
  }

  /// In lower case, without `;1` or `.;1` at the end, what is left of `;` and `/` being `.`: as Linux
  /// shows it (`map=normal`).
  private static func plain(_ stored: [UInt8]) -> [UInt8] {
    var name = stored.prefix { $0 != 0 }
    if name.suffix(2) == [0x3B, 0x31] {
      name.removeLast(2)
      if name.last == 0x2E { name.removeLast() }
    }
    return name.map { byte in
      switch byte {
      case 0x41...0x5A: byte | 0x20
      case 0x2F, 0x3B: 0x2E
      default: byte
      }
    }
  }

  /// UTF-16, high byte first, without `;1` and then periods at the end, as Linux and Windows show it.
  private static func joliet(_ stored: [UInt8]) -> [UInt8] {
    var units: [UInt16] = []
    for index in stride(from: 0, to: stored.count - 1, by: 2) {
      units.append(UInt16(stored[index]) << 8 | UInt16(stored[index + 1]))
    }
    if units.count > 2, units.suffix(2) == [0x3B, 0x31] { units.removeLast(2) }
    while units.count > 1, units.last == 0x2E { units.removeLast() }
    return Array(String(decoding: units, as: UTF16.self).utf8)
  }
}
