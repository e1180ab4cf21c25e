internal import DiskCore

/// The volume's own table of what is whose upper case, by which names are the same (Microsoft, "exFAT
/// file system specification", section 7.2).
struct ExFATUpCase: Sendable {
  /// In bytes: an entry for each of 65,536 code units.
  static let longest = 128 << 10

  /// Of code units from 0 on; nil for the one that Unicode gives.
  private let mapped: [UInt16]?
  /// What is wrong with the stored table; nil where nothing is.
  let note: String?

  /// Unicode's, where the stored table is of no use.
  init(without note: String) {
    mapped = nil
    self.note = note
  }

  /// - Parameters:
  ///   - stored: the table, compressed: 0xFFFF and a number stand for so many units that are their own
  ///     upper case.
  ///   - checksum: of those bytes.
  init(_ stored: ByteReader, checksum: UInt32) throws(DiskError) {
    let sum = stored.bytes.reduce(0 as UInt32) { ($0 >> 1 | $0 << 31) &+ UInt32($1) }
    guard sum == checksum else {
      mapped = nil
      note = "the checksum of exFAT's table of upper case is wrong; Unicode's is used"
      return
    }
    let count = stored.count / 2
    var units: [UInt16] = []
    units.reserveCapacity(1 << 16)
    var at = 0
    while at < count, units.count < 1 << 16 {
      let unit = try stored.u16(at: 2 * at)
      at += 1
      if unit == 0xFFFF, at < count, units.count != 0xFFFF {
        let run = Int(try stored.u16(at: 2 * at))
        at += 1
        for _ in 0..<min(run, 1 << 16 - units.count) { units.append(UInt16(units.count)) }
      } else {
        units.append(unit)
      }
    }
    mapped = units
    note = nil
  }

  func key(of name: FileName) -> FileName {
    guard let mapped else { return UpperCase.of(name) }
    let units = name.text.utf16.map { Int($0) < mapped.count ? mapped[Int($0)] : $0 }
    return FileName(String(decoding: units, as: UTF16.self))
  }
}
