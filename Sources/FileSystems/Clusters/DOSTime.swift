/// A moment as FAT and exFAT store it: fields of bits, two seconds apart (Microsoft, "FAT: General
/// Overview of On-Disk Format", page 25; "exFAT file system specification", section 7.4.8).
struct DOSTime {
  /// Day in bits 0 to 4, month in 5 to 8, years since 1980 in 9 to 15.
  let date: UInt16
  /// Half the seconds in bits 0 to 4, minutes in 5 to 10, hours in 11 to 15.
  var time: UInt16 = 0
  /// In addition: 0 to 199.
  var hundredths: UInt8 = 0

  /// Where the clock stood at `offset(moment)` seconds east of Greenwich.
  func moment(east offset: (FileTime) -> Int) -> FileTime {
    let asIfUTC = seconds
    let fraction = UInt32(hundredths % 100) * 10_000_000
    // The offset at the moment is not known before the moment is: near a change of the clocks the
    // second guess is right where the first is not.
    let guess = asIfUTC - Int64(clamping: offset(FileTime(seconds: asIfUTC)))
    let east = Int64(clamping: offset(FileTime(seconds: guess)))
    return FileTime(seconds: asIfUTC - east, nanoseconds: fraction)
  }

  /// Since 1970, by the clock that wrote it. Fields out of range count as the next valid value, as with
  /// `mount -t vfat`.
  private var seconds: Int64 {
    let year = 1980 + Int64(date >> 9)
    let month = min(12, max(1, Int64(date >> 5 & 0xF)))
    let day = max(1, Int64(date & 0x1F))
    let days = Self.days(year, month) + day - 1
    return ((days * 24 + Int64(time >> 11)) * 60 + Int64(time >> 5 & 0x3F)) * 60
      + Int64(time & 0x1F) * 2 + Int64(hundredths / 100)
  }

  /// From 1970-01-01 to the first day of a month from 1980 to 2107.
  private static func days(_ year: Int64, _ month: Int64) -> Int64 {
    let before: [Int64] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
    let isLeap = year % 4 == 0 && year != 2100
    let leapDays = (year - 1969) / 4 - (year > 2100 ? 1 : 0)
    return (year - 1970) * 365 + leapDays + before[Int(month - 1)] + (isLeap && month > 2 ? 1 : 0)
  }
}
