internal import DiskCore
internal import Glibc

/// What a folder holds, for finding files whose exact name is not known.
enum FolderListing {
  /// Folders are read no further than this.
  static let mostNames = 10_000

  /// The names in `folder`, in no order; none where it cannot be listed. Names that are not UTF-8 are
  /// left out.
  static func names(in folder: String) -> [String] {
    guard let directory = unsafe opendir(folder) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while names.count < mostNames, let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { bytes in
        unsafe bytes.withMemoryRebound(to: CChar.self, capacity: 256) {
          unsafe String(validatingCString: $0)
        }
      }
      if let name, name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}
