internal import DiskCore
internal import Glibc

enum DirectoryListing {
  /// What is in `folder`, without `.` and `..`, in no order.
  ///
  /// - Throws: what `opendir(3)` says.
  static func names(in folder: String) throws(DiskError) -> [String] {
    guard let directory = unsafe opendir(folder) else {
      throw DiskError(system: errno, "cannot be listed", path: folder)
    }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
        unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}
