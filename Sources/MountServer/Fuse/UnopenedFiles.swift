internal import DiskCore
internal import MountTree
internal import Synchronization

/// Files that the kernel reads without having said that it opens them.
///
/// Where nothing can change and all that a mount shows are files of a file system, opening and closing one
/// tells us nothing: without it a small file is one request instead of three. The kernel has to be told so
/// once (ENOSYS, `FUSE_NO_OPEN_SUPPORT`), and believes it of the whole mount from then on.
final class UnopenedFiles: Sendable {
  /// What is known of so many files is kept: their runs, their tables of compressed blocks.
  private static let mostKept = 64

  private let tree: MountTree
  private let kept: LoadCache<UInt64, OpenFile>
  /// Whether the kernel can do without opening files, and folders; known when it has been heard.
  private let canSkipFiles = Atomic(false)
  private let canSkipFolders = Atomic(false)

  init(_ tree: MountTree) {
    self.tree = tree
    kept = LoadCache(capacity: Self.mostKept) { id throws(DiskError) in
      guard let item = tree.item(id) else {
        throw DiskError(.invalidRequest, "a read of what is no file")
      }
      return OpenFile(.window(try item.files.content(of: item.item)))
    }
  }

  func hear(canSkipFiles: Bool, canSkipFolders: Bool) {
    self.canSkipFiles.store(canSkipFiles, ordering: .relaxed)
    self.canSkipFolders.store(canSkipFolders, ordering: .relaxed)
  }

  var skipsFolders: Bool { canSkipFolders.load(ordering: .relaxed) }

  /// Not on a disk whose bytes can be far inside a stream: who is killed on the way there closes his file, and that is
  /// how we hear of it (`LongReads`).
  var skipsFiles: Bool {
    guard canSkipFiles.load(ordering: .relaxed), let root = tree.item(MountTree.rootID) else {
      return false
    }
    return !root.files.volume.window.disk.canBeFar
  }

  /// - Throws: what opening it would have said.
  func file(_ id: UInt64) throws(DiskError) -> OpenFile { try kept.value(of: id) }
}
