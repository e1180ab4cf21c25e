internal import DiskCore

/// The two forms in which ISO 9660 and Rock Ridge write a moment.
enum ISODate {
  /// In bytes.
  static let shortLength = 7
  static let longLength = 17

  /// Seven bytes: years since 1900, month, day, hour, minute, second, and the zone in quarters of an
  /// hour east of Greenwich (ECMA-119, 9.1.5). Nil where none was written.
  static func short(_ reader: ByteReader, at offset: Int) throws(DiskError) -> FileTime? {
    func field(_ index: Int) throws(DiskError) -> Int { Int(try reader.u8(at: offset + index)) }
    return time(
      day: (1900 + (try field(0)), try field(1), try field(2)),
      clock: (try field(3), try field(4), try field(5)), hundredths: 0,
      zone: try reader.u8(at: offset + 6))
  }

  /// Sixteen digits up to hundredths of a second, and the zone (ECMA-119, 8.4.26.1). Nil where none was
  /// written.
  static func long(_ reader: ByteReader, at offset: Int) throws(DiskError) -> FileTime? {
    let digits = try reader.slice(at: offset, count: 16).map { Int($0) - 0x30 }
    guard digits.allSatisfy((0...9).contains) else { return nil }
    func number(_ start: Int, count: Int = 2) -> Int {
      digits[start..<start + count].reduce(0) { 10 * $0 + $1 }
    }
    return time(
      day: (number(0, count: 4), number(4), number(6)),
      clock: (number(8), number(10), number(12)), hundredths: number(14),
      zone: try reader.u8(at: offset + 16))
  }

  private static func time(
    day: (year: Int, month: Int, day: Int), clock: (hour: Int, minute: Int, second: Int),
    hundredths: Int, zone: UInt8
  ) -> FileTime? {
    guard (1...12).contains(day.month), (1...31).contains(day.day) else { return nil }
    let seconds =
      FileTime.days(day.year, day.month, day.day) * 86_400 + clock.hour * 3600
      + clock.minute * 60 + clock.second
    // Linux takes no zone outside 13 hours either: some writers leave garbage there.
    let quarters = Int(Int8(bitPattern: zone))
    let offset = (-52...52).contains(quarters) ? quarters * 900 : 0
    return FileTime(
      seconds: Int64(seconds - offset), nanoseconds: UInt32(hundredths) * 10_000_000)
  }
}
