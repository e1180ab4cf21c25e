internal import DiskCore
internal import Glibc

/// The kernel's list of mounts, of which only Platter's matter here.
enum MountTable {
  struct Entry: Sendable {
    /// The kernel's number for this one mount.
    let id: Int
    let mountPoint: String
  }

  /// The Platter mount that is on top at `mountPoint`; nil where there is none.
  static func entry(at mountPoint: String) -> Entry? {
    guard let top = entries().last(where: { $0.entry.mountPoint == mountPoint }),
      top.type == "fuse.platter"
    else { return nil }
    return top.entry
  }

  /// Whether anything at all is mounted there.
  static func isMounted(_ mountPoint: String) -> Bool {
    entries().contains { $0.entry.mountPoint == mountPoint }
  }

  static func contains(id: Int) -> Bool { entries().contains { $0.entry.id == id } }

  /// proc(5), /proc/pid/mountinfo: id, parent, device, root, mount point, options, optional fields,
  /// a hyphen, type, source, options.
  private static func entries() -> [(entry: Entry, type: String)] {
    guard let file = try? OwnedDescriptor.open(reading: "/proc/self/mountinfo") else { return [] }
    return TextSocket.readAll(file.number).split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count > 6, let id = Int(fields[0]),
        let hyphen = fields[6...].firstIndex(of: "-"), hyphen + 1 < fields.count
      else { return nil }
      return (Entry(id: id, mountPoint: unescaped(fields[4])), String(fields[hyphen + 1]))
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
