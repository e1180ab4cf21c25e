extension FileTime {
  /// Days from 1970-01-01 to a day of the Gregorian calendar, of whatever year.
  ///
  /// - Parameters:
  ///   - month: 1 to 12.
  ///   - day: from 1 on; one behind the month's last is in the next.
  static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
    // Years that start in March have their leap day last.
    let year = month <= 2 ? year - 1 : year
    let era = (year >= 0 ? year : year - 399) / 400
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}
