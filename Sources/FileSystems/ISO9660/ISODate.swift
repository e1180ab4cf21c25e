internal import DiskCore

/// The two forms in which ISO 9660 and Rock Ridge write a moment.
enum ISODate {
  /// In bytes.
  static let shortLength = 7
  static let longLength = 17

  /// Seven bytes: years since 1900, month, day, hour, minute, second, and the zone in quarters of an
  /// hour east of Greenwich (ECMA-119, 9.1.5). Nil where none was written.
  static func short(_ reader: ByteReader, at offset: Int) throws(DiskError) -> FileTime? {
    var fields: [Int] = []
    for index in 0..<6 { fields.append(Int(try reader.u8(at: offset + index))) }
    fields[0] += 1900
    return time(fields, hundredths: 0, zone: try reader.u8(at: offset + 6))
  }

  /// Sixteen digits up to hundredths of a second, and the zone (ECMA-119, 8.4.26.1). Nil where none was
  /// written.
  static func long(_ reader: ByteReader, at offset: Int) throws(DiskError) -> FileTime? {
    let digits = try reader.slice(at: offset, count: 16).map { Int($0) - 0x30 }
    guard digits.allSatisfy((0...9).contains) else { return nil }
    func number(_ range: Range<Int>) -> Int { digits[range].reduce(0) { 10 * $0 + $1 } }
    let fields =
      [number(0..<4)] + stride(from: 4, to: 14, by: 2).map { number($0..<$0 + 2) }
    return time(fields, hundredths: number(14..<16), zone: try reader.u8(at: offset + 16))
  }

  private static func time(_ fields: [Int], hundredths: Int, zone: UInt8) -> FileTime? {
    let (year, month, day) = (fields[0], fields[1], fields[2])
    guard (1...12).contains(month), (1...31).contains(day) else { return nil }
    let seconds =
      FileTime.days(year, month, day) * 86_400 + fields[3] * 3600 + fields[4] * 60 + fields[5]
    // Linux takes no zone outside 13 hours either: some writers leave garbage there.
    let quarters = Int(Int8(bitPattern: zone))
    let offset = (-52...52).contains(quarters) ? quarters * 900 : 0
    return FileTime(
      seconds: Int64(seconds - offset), nanoseconds: UInt32(hundredths) * 10_000_000)
  }
}
