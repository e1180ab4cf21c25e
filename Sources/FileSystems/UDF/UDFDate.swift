internal import DiskCore

/// A moment as UDF writes it, in twelve bytes (ECMA-167, 1/7.3; UDF 2.60, 2.1.4).
enum UDFDate {
  /// For a zone that the writer did not know.
  private static let noZone = -2047

  /// Nil where none was written.
  static func time(_ reader: ByteReader, at offset: Int) throws(DiskError) -> FileTime? {
    let kind = try reader.u16(at: offset)
    let year = Int(Int16(bitPattern: try reader.u16(at: offset + 2)))
    var fields: [Int] = []
    for index in 4..<12 { fields.append(Int(try reader.u8(at: offset + index))) }
    let (month, day) = (fields[0], fields[1])
    guard (1...12).contains(month), (1...31).contains(day), fields[2] < 24, fields[3] < 60,
      fields[4] <= 60
    else { return nil }
    let clock = fields[2] * 3600 + fields[3] * 60 + fields[4]
    // Type 1 is local time: then the lower twelve bits are minutes east of Greenwich.
    var minutes = Int(kind & 0xFFF)
    if minutes >= 0x800 { minutes -= 0x1000 }
    if kind >> 12 != 1 || minutes == noZone || !(-1440...1440).contains(minutes) { minutes = 0 }
    // Hundredths, ten-thousandths and millionths of a second; some writers leave noise there.
    let isFraction = fields[5...].allSatisfy { $0 < 100 }
    let fraction = isFraction ? fields[5] * 10_000 + fields[6] * 100 + fields[7] : 0
    return FileTime(
      seconds: Int64(FileTime.days(year, month, day) * 86_400 + clock - minutes * 60),
      nanoseconds: UInt32(fraction) * 1000)
  }
}
