/// What `lseek(2)` can look for, from <linux/fs.h>; glibc's header hides it from Swift behind
/// _GNU_SOURCE.
public enum SeekWhence {
  /// SEEK_DATA
  public static let data: Int32 = 3
  /// SEEK_HOLE
  public static let hole: Int32 = 4
}
