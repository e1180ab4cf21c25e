internal import DiskCore
internal import Glibc

/// Where the copy of one item goes: a name in a folder that exists.
struct CopyPlace {
  let folder: CopyFolder
  let name: HostName

  /// - Parameters:
  ///   - name: what the copy is called in a folder that exists; empty for a root, whose content goes
  ///     into it.
  ///   - isFolder: whether a folder is copied.
  ///   - mustBeFolder: whether several things are copied.
  ///   - spared: files that nothing replaces.
  /// - Throws: where the folder that it goes into does not exist.
  init(
    _ destination: String, name: String, isFolder: Bool, mustBeFolder: Bool,
    sparing spared: Set<FileIdentity>
  ) throws(DiskError) {
    var status = stat()
    let exists =
      unsafe stat(destination, &status) == 0 && status.st_mode & Glibc.S_IFMT == Glibc.S_IFDIR
    guard exists || !mustBeFolder else {
      throw DiskError(
        .invalidRequest, "is no folder, and several things go there", path: destination)
    }
    // As cp(1): a slash behind a name means a folder.
    guard exists || isFolder || destination.utf8.last != UInt8(ascii: "/") else {
      throw DiskError(.notFound, "there is no such folder", path: destination)
    }
    let parts = PathParts(destination)
    let goesInside = exists && !name.isEmpty && name != "." && name != ".."
    let path =
      goesInside || parts.name == "." || parts.name.isEmpty ? destination : parts.folder
    let last = goesInside ? name : parts.name.isEmpty ? "." : parts.name
    let number = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else { throw DiskError(system: errno, "cannot copy to", path: path) }
    folder = CopyFolder(OwnedDescriptor(adopting: number), path: path, sparing: spared)
    self.name = HostName(Array(last.utf8), in: folder)
  }
}
