internal import Glibc

/// Tells other programs what we do with an image file, and refuses what does not go together with what
/// they do: as QEMU does it, so that the two respect each other.
///
/// Source: DESIGN section 5, as QEMU's block/file-posix.c does it; what goes together was measured
/// with qemu-io 7.2. A shared lock on byte 100 + i says
/// "I use permission i", one on 200 + i "nobody else may". The locks are an open file description's
/// and go with it.
public enum ImageLock {
  /// What somebody does with an image.
  public enum Use: Sendable {
    /// Reads, and nobody may write.
    case read
    /// Reads, whoever writes: `--force-share`.
    case readShared
    /// Reads and writes; others may read what stays as it is.
    case write
    /// Writes, and changes the file's size.
    case writeAndResize
  }

  /// In the order of their bytes.
  private struct Permissions: OptionSet {
    let rawValue: Int
    static let consistentRead = Permissions(rawValue: 1)
    static let write = Permissions(rawValue: 2)
    static let writeUnchanged = Permissions(rawValue: 4)
    static let resize = Permissions(rawValue: 8)
    static let all = Permissions(rawValue: 15)
    static let count = 4
  }

  private static let usedBase = 100
  private static let unsharedBase = 200

  /// Takes the locks on an open file. Where the file system knows none, nothing is locked.
  ///
  /// - Throws: `busy` where somebody uses the file in a way that does not go together with `use`.
  ///   The locks that were taken stay until the descriptor is closed.
  public static func take(
    _ use: Use, on descriptor: CInt, path: String
  ) throws(DiskError) {
    let used: Permissions
    let shared: Permissions
    switch use {
    case .read: (used, shared) = (.consistentRead, [.consistentRead, .writeUnchanged])
    case .readShared: (used, shared) = (.consistentRead, .all)
    case .write: (used, shared) = ([.consistentRead, .write], [.consistentRead, .writeUnchanged])
    case .writeAndResize:
      (used, shared) = (
        [.consistentRead, .write, .resize], [.consistentRead, .writeUnchanged]
      )
    }
    // First say what we do, then look: of two that come at once, at least one sees the other.
    for bit in 0..<Permissions.count {
      let permission = Permissions(rawValue: 1 << bit)
      if used.contains(permission) {
        guard try lock(descriptor, usedBase + bit, path) else { return }
      }
      if !shared.contains(permission) {
        guard try lock(descriptor, unsharedBase + bit, path) else { return }
      }
    }
    for bit in 0..<Permissions.count {
      let permission = Permissions(rawValue: 1 << bit)
      if !shared.contains(permission), isLocked(descriptor, usedBase + bit) {
        throw DiskError(
          .busy,
          permission == .write || permission == .resize
            ? "another program has it open for writing"
              + (use == .read ? "; '--force-share' shows it all the same" : "")
            : "another program has it open", path: path)
      }
      if used.contains(permission), isLocked(descriptor, unsharedBase + bit) {
        throw DiskError(
          .busy,
          permission == .consistentRead
            ? "another program has it open and lets nobody else read it"
            : "another program has it open and lets nobody else write to it", path: path)
      }
    }
  }

  // <fcntl.h> shows them only to programs that define _GNU_SOURCE.
  private static let getLock: CInt = 36
  private static let setLock: CInt = 37

  /// False where the file system has no such locks.
  private static func lock(
    _ descriptor: CInt, _ byte: Int, _ path: String
  ) throws(DiskError) -> Bool {
    var request = flock()
    request.l_type = Int16(F_RDLCK)
    request.l_whence = Int16(SEEK_SET)
    request.l_start = off_t(byte)
    request.l_len = 1
    guard unsafe fcntl(descriptor, setLock, &request) != 0 else { return true }
    switch errno {
    case EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP: return false
    case EAGAIN, EACCES:
      throw DiskError(.busy, "another program has locked it", path: path)
    default: throw DiskError(system: errno, "cannot be locked", path: path)
    }
  }

  /// Whether somebody else has a lock there.
  private static func isLocked(_ descriptor: CInt, _ byte: Int) -> Bool {
    var request = flock()
    request.l_type = Int16(F_WRLCK)
    request.l_whence = Int16(SEEK_SET)
    request.l_start = off_t(byte)
    request.l_len = 1
    return unsafe fcntl(descriptor, getLock, &request) == 0 && request.l_type != Int16(F_UNLCK)
  }
}
