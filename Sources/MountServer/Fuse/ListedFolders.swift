internal import DiskCore
internal import Synchronization

/// Folders that are being listed without having been opened: each request for more of one finds it as it was
/// for the first, whatever else is listed meanwhile.
final class ListedFolders: Sendable {
  private static let mostFolders = 8
  /// Names of all of them together; the last folder is kept whatever it holds.
  private static let mostNames = 1 << 19

  /// The one that was asked for last is last.
  private let folders = Mutex<[OpenFolder]>([])

  /// - Parameters:
  ///   - position: where the listing goes on; it is made anew where that is the beginning.
  ///   - list: lists it; nil for what is no folder of a file system.
  func folder(
    _ id: UInt64, at position: Int, or list: () throws(DiskError) -> OpenFolder?
  ) throws(DiskError) -> OpenFolder? {
    if position > 0, let folder = folders.withLock({ $0.last { $0.item.id == id } }) {
      return folder
    }
    guard let folder = try list() else { return nil }
    folders.withLock { folders in
      folders.removeAll { $0.item.id == id }
      folders.append(folder)
      var names = folders.reduce(0) { $0 + $1.content.entries.count }
      while folders.count > 1, folders.count > Self.mostFolders || names > Self.mostNames {
        names -= folders.removeFirst().content.entries.count
      }
    }
    return folder
  }
}
