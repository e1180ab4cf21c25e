internal import DiskCore
internal import Glibc

/// The kernel's list of mounts, of which only Platter's matter here.
enum MountTable {
  struct Entry: Sendable {
    /// The mounted file system's own number, `major:minor`. No two live ones share it, in whatever
    /// namespace, which a mount point or a process's number could not say.
    let device: String
    let mountPoint: String
  }

  /// The Platter mount that is on top at `mountPoint`; nil where there is none.
  static func entry(at mountPoint: String) -> Entry? {
    guard let top = entries().last(where: { $0.entry.mountPoint == mountPoint }), top.isPlatter
    else { return nil }
    return top.entry
  }

  /// Whether anything at all is mounted there.
  static func isMounted(_ mountPoint: String) -> Bool {
    entries().contains { $0.entry.mountPoint == mountPoint }
  }

  /// All Platter mounts that this process can see.
  static func platterMounts() -> [Entry] { entries().filter(\.isPlatter).map(\.entry) }

  /// Whether `mountPoint` is a Platter mount that has lost its daemon: nothing can be looked up in it
  /// any more.
  static func isDead(_ mountPoint: String) -> Bool {
    guard entry(at: mountPoint) != nil else { return false }
    // Not stat(2), which the kernel can answer out of its own memory.
    var status = statvfs()
    return unsafe statvfs(mountPoint, &status) != 0 && errno == ENOTCONN
  }

  /// proc(5), /proc/pid/mountinfo: id, parent, device, root, mount point, options, optional fields,
  /// a hyphen, type, source, options.
  private static func entries() -> [(entry: Entry, isPlatter: Bool)] {
    guard let file = try? OwnedDescriptor.open(reading: "/proc/self/mountinfo") else { return [] }
    return DescriptorText.readAll(file.number).split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count > 6, let hyphen = fields[6...].firstIndex(of: "-"),
        hyphen + 1 < fields.count
      else { return nil }
      let entry = Entry(device: String(fields[2]), mountPoint: unescaped(fields[4]))
      return (entry, fields[hyphen + 1] == "fuse.platter")
    }
  }

  /// Space, tab, newline and backslash stand as three octal digits.
  private static func unescaped(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Substring(field).utf8
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let value = UInt8(String(rest.prefix(3)) ?? "", radix: 8) {
        bytes.append(value)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
