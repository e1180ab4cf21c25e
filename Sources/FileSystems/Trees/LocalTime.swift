internal import Glibc

/// The time zone of this process (`TZ`, `/etc/localtime`), for file systems that keep local time.
enum LocalTime {
  /// Seconds east of Greenwich at `moment`; 0 where the system cannot say.
  static func offset(at moment: FileTime) -> Int {
    var seconds = time_t(clamping: moment.seconds)
    var broken = unsafe tm()
    guard unsafe localtime_r(&seconds, &broken) != nil else { return 0 }
    return unsafe broken.tm_gmtoff
  }
}
