internal import DiskCore
internal import Glibc

/// Who uses a mount, as far as this user may know: for the message that it is busy.
enum OpenFiles {
  /// ` by bash (4711) and mtype (4712)`; empty where nobody can be named.
  ///
  /// - Parameter forWriting: whether to name only those who can write to it.
  static func description(under mountPoint: String, forWriting: Bool = false) -> String {
    let users = users(of: mountPoint, forWriting)
    guard !users.isEmpty else { return "" }
    let named = users.prefix(3).joined(separator: ", ")
    return " by \(named)" + (users.count > 3 ? " and \(users.count - 3) more" : "")
  }

  private static func users(of mountPoint: String, _ forWriting: Bool) -> [String] {
    func isInside(_ path: String) -> Bool {
      path == mountPoint || path.hasPrefix(mountPoint + "/")
    }
    return names(in: "/proc").filter { $0.allSatisfy(\.isNumber) }.compactMap { pid in
      let process = "/proc/\(pid)"
      let files = names(in: process + "/fd").filter { name in
        target(of: "\(process)/fd/\(name)").map(isInside) ?? false
      }
      let isUser =
        forWriting
        ? files.contains { isWritable("\(process)/fdinfo/\($0)") }
          || writesMapping(process, isInside)
        : !files.isEmpty || target(of: process + "/cwd").map(isInside) ?? false
      return isUser ? "\(command(of: process)) (\(pid))" : nil
    }
  }

  /// proc(5), /proc/pid/fdinfo: `flags:` and the file's flags in octal.
  private static func isWritable(_ path: String) -> Bool {
    guard let file = try? OwnedDescriptor.open(reading: path),
      let line = DescriptorText.readAll(file.number).split(separator: "\n")
        .first(where: { $0.hasPrefix("flags:") }),
      let flags = line.split(separator: "\t").last.flatMap({ CInt($0, radix: 8) })
    else { return false }
    return flags & O_ACCMODE != O_RDONLY
  }

  /// proc(5), /proc/pid/maps: addresses, permissions, offset, device, inode, path.
  private static func writesMapping(_ process: String, _ isInside: (String) -> Bool) -> Bool {
    guard let file = try? OwnedDescriptor.open(reading: process + "/maps") else { return false }
    return DescriptorText.readAll(file.number).split(separator: "\n").contains { line in
      let fields = line.split(separator: " ", maxSplits: 5)
      return fields.count == 6 && fields[1].hasPrefix("rw") && fields[1].hasSuffix("s")
        && isInside(String(fields[5].drop { $0 == " " }))
    }
  }

  private static func command(of process: String) -> String {
    target(of: process + "/exe").map { PathParts($0).name } ?? "process"
  }

  private static func target(of link: String) -> String? {
    var bytes = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe buffer.withMemoryRebound(to: CChar.self) { buffer in
        unsafe buffer.baseAddress.map { unsafe readlink(link, $0, buffer.count) } ?? -1
      }
    }
    return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
  }

  private static func names(in folder: String) -> [String] {
    (try? DirectoryListing.names(in: folder)) ?? []
  }
}
