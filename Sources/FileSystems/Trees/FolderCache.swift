internal import DiskCore
internal import Synchronization

/// Folders that were listed, kept while there is room: a look at each of 20,000 names lists the folder
/// once.
final class FolderCache: Sendable {
  /// Names of all folders together, at some 120 bytes; the last folder is kept whatever it holds.
  static let mostEntries = 1 << 18

  private struct Kept: Sendable {
    var folders: [ItemID: Lazy<Folder>] = [:]
    /// Those that were listed, the oldest first, with what they cost.
    var order: [(folder: ItemID, cost: Int)] = []
    var cost = 0
  }

  private let kept = Mutex(Kept())

  /// What is in `item`; blocks while another thread lists it.
  func folder(_ item: ItemID, of fileSystem: any FileSystem) throws(DiskError) -> Folder {
    let slot = kept.withLock { kept in
      if let slot = kept.folders[item] { return slot }
      let slot = Lazy { [weak self] () throws(DiskError) -> Folder in
        do throws(DiskError) {
          let folder = try Folder(item, of: fileSystem)
          // An empty one takes room too.
          self?.didList(item, folder.names + 1)
          return folder
        } catch {
          self?.kept.withLock { $0.folders[item] = nil }
          throw error
        }
      }
      kept.folders[item] = slot
      return slot
    }
    return try slot.get()
  }

  private func didList(_ item: ItemID, _ cost: Int) {
    kept.withLock { kept in
      kept.order.append((item, cost))
      kept.cost += cost
      var leaving = 0
      while kept.cost > Self.mostEntries, leaving < kept.order.count - 1 {
        kept.folders[kept.order[leaving].folder] = nil
        kept.cost -= kept.order[leaving].cost
        leaving += 1
      }
      kept.order.removeFirst(leaving)
    }
  }
}
