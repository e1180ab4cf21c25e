internal import DiskCore
internal import Glibc

/// Where the copy of one item goes: a name in a folder of this machine, which is held open so that
/// nothing in its path can be changed for something else meanwhile.
struct CopyPlace: ~Copyable {
  let folder: OwnedDescriptor
  /// Without a slash.
  let name: [UInt8]
  /// For messages.
  let path: String

  init(_ folder: consuming OwnedDescriptor, _ name: [UInt8], path: String) {
    self.folder = folder
    self.name = name
    self.path = path
  }

  /// - Parameters:
  ///   - name: what the copy is called in a folder that exists; empty for a root, whose content goes
  ///     into it.
  ///   - mustBeFolder: whether several things are copied.
  /// - Throws: where the folder that it goes into does not exist.
  init(_ destination: String, name: String, mustBeFolder: Bool) throws(DiskError) {
    var status = stat()
    let isFolder =
      unsafe stat(destination, &status) == 0 && status.st_mode & Glibc.S_IFMT == Glibc.S_IFDIR
    guard isFolder || !mustBeFolder else {
      throw DiskError(
        .invalidRequest, "is no folder, and several things go there", path: destination)
    }
    let parts = PathParts(destination)
    let intoFolder = isFolder && !name.isEmpty && name != "." && name != ".."
    let folder =
      intoFolder
      ? destination : parts.name == "." || parts.name.isEmpty ? destination : parts.folder
    let last = intoFolder ? name : parts.name.isEmpty ? "." : parts.name
    let number = unsafe Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else { throw DiskError(system: errno, "cannot copy to", path: folder) }
    self.init(
      OwnedDescriptor(adopting: number), Array(last.utf8), path: PathParts.join(folder, last))
  }
}
