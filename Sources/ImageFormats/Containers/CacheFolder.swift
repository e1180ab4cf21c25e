internal import DiskCore
internal import Glibc

/// `$XDG_CACHE_HOME/platter`, or `~/.cache/platter`: files that can be made again, the user's own,
/// bounded together.
struct CacheFolder: Sendable {
  /// All files together, in bytes; the ones not used for longest go first.
  static let largest: UInt64 = 256 << 20

  private let path: String

  /// Nil where the environment names none.
  static let standard: String? = {
    func variable(_ name: String) -> String? {
      guard let value = unsafe getenv(name) else { return nil }
      let text = unsafe String(cString: value)
      // The XDG base directory specification: a relative path is to be ignored.
      return text.hasPrefix("/") ? text : nil
    }
    let parent = variable("XDG_CACHE_HOME") ?? variable("HOME").map { PathParts.join($0, ".cache") }
    return parent.map { PathParts.join($0, "platter") }
  }()

  /// Nil where it cannot be made, or it is somebody else's.
  init?(_ path: String) {
    self.path = path
    _ = unsafe mkdir(PathParts(path).folder, 0o700)
    _ = unsafe mkdir(path, 0o700)
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR,
      status.st_uid == geteuid()
    else { return nil }
  }

  /// The file called `name`; nil where there is none, or a larger one. It counts as used now.
  func read(_ name: String, atMost most: Int) -> [UInt8]? {
    let file = PathParts.join(path, name)
    guard let storage = try? FileStorage(path: file), storage.size <= UInt64(most) else {
      return nil
    }
    var bytes: [UInt8] = []
    while bytes.count < Int(storage.size) {
      let count = min(Limits.largestMetadataRead, Int(storage.size) - bytes.count)
      guard let piece = try? storage.bytes(at: FileOffset(UInt64(bytes.count)), count: count) else {
        return nil
      }
      bytes += piece
    }
    _ = unsafe utimensat(AT_FDCWD, file, nil, 0)
    return bytes
  }

  /// Puts a whole file in the place of `name`, or none: what cannot be kept is found out again.
  ///
  /// - Parameters:
  ///   - count: how many bytes it will have.
  ///   - content: gives them piece by piece to its argument, so that they are nowhere all in memory.
  func write(_ name: String, count: Int, _ content: (([UInt8]) -> Void) -> Void) {
    makeRoom(for: UInt64(count))
    let file = PathParts.join(path, name)
    var template = Array((file + ".XXXXXX").utf8CString)
    let number = unsafe mkstemp(&template)
    guard number >= 0 else { return }
    let descriptor = OwnedDescriptor(adopting: number)
    var done = 0
    content { bytes in done += Self.append(bytes, to: descriptor.number) }
    guard done == count, unsafe rename(template, file) == 0 else {
      unsafe unlink(template)
      return
    }
  }

  /// How many bytes were written: all, or fewer than there are.
  private static func append(_ bytes: [UInt8], to descriptor: CInt) -> Int {
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { bytes in
        unsafe Glibc.write(
          descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done)
      }
      guard count > 0 || errno == EINTR else { break }
      done += max(0, count)
    }
    return done
  }

  private func makeRoom(for count: UInt64) {
    var files: [(used: Int, size: UInt64, path: String)] = []
    // Left behind by a crash: as old as the others, and gone with them.
    for name in FolderListing.names(in: path) where name.contains(".index") {
      let file = PathParts.join(path, name)
      var status = stat()
      guard unsafe lstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
      files.append((status.st_mtim.tv_sec, UInt64(max(0, status.st_size)), file))
    }
    var total = files.reduce(count) { $0 + $1.size }
    for file in files.sorted(by: { $0.used < $1.used }) where total > Self.largest {
      unsafe unlink(file.path)
      total -= file.size
    }
  }
}
