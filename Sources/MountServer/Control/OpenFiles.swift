internal import DiskCore
internal import Glibc

/// Who uses a mount, as far as this user may know: for the message that it is busy.
enum OpenFiles {
  /// ` by bash (4711) and mtype (4712)`; empty where nobody can be named.
  static func description(under mountPoint: String) -> String {
    let users = users(of: mountPoint)
    guard !users.isEmpty else { return "" }
    let named = users.prefix(3).joined(separator: ", ")
    return " by \(named)" + (users.count > 3 ? " and \(users.count - 3) more" : "")
  }

  private static func users(of mountPoint: String) -> [String] {
    names(in: "/proc").filter { $0.allSatisfy(\.isNumber) }.compactMap { pid in
      let process = "/proc/\(pid)"
      let links = [process + "/cwd"] + names(in: process + "/fd").map { "\(process)/fd/\($0)" }
      guard
        links.contains(where: { link in
          guard let target = target(of: link) else { return false }
          return target == mountPoint || target.hasPrefix(mountPoint + "/")
        })
      else { return nil }
      return "\(command(of: process)) (\(pid))"
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
