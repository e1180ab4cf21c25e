internal import Synchronization

/// Whether those who list folders want to know more of files than their names.
///
/// Nobody says so when he lists a folder. `ls -l`, `tar` and `cp` look at each file next, which is a request for
/// each unless the listing has said it all; `find` never looks, and then the kernel made an inode for each file in
/// vain, which is more than half of the time of such a walk. So a small folder's listing says it all when
/// files were looked at lately. Folders are always told of: who walks through a tree looks at each.
final class ListingHabits: Sendable {
  /// Of a larger folder everything is always said: that many looks at files are too many to find out.
  static let mostEntries = 64
  /// After a look at a file, before it is tried again with the names alone.
  private static let listings = 64

  /// How many listings are still to say it all.
  private let left = Atomic(0)

  /// Somebody asked for a file whose attributes the kernel did not know.
  func didLookAtFile() { left.store(Self.listings, ordering: .relaxed) }

  /// Whether a listing of a folder of `entries` should tell of files more than their names.
  func wantsFiles(entries: Int) -> Bool {
    guard entries <= Self.mostEntries else { return true }
    // Two at once may count as one.
    let left = self.left.load(ordering: .relaxed)
    guard left > 0 else { return false }
    self.left.store(left - 1, ordering: .relaxed)
    return true
  }
}
