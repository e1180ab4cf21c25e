internal import DiskCore
internal import Dispatch
internal import FileSystems
internal import MountTree
internal import Synchronization

/// Gives the kernel small files before they are asked for.
///
/// Who reads one file of a folder after the other (`tar`, `cp -r`, `grep -r`) waits for each, and of a small file the
/// way there and back takes longer than the reading. As the kernel reads ahead in one large file, so here
/// files are read ahead in one folder: a read of a file that stands where the last read of its folder ended is
/// followed by those behind it, first one, and twice as many each time that they were the right ones.
///
/// Only for what nobody can change. On a thread of its own: giving pages to the kernel waits for requests
/// about the same pages.
final class FilesAhead: Sendable {
  /// In bytes. A larger one is worth its own request.
  static let largestFile: UInt64 = 64 << 10
  /// Files that are given at a time; with the above, at most 2 MiB.
  static let mostFiles = 32
  /// Folders whose readers are followed, and of how many entries at most, all together.
  private static let mostFolders = 8
  private static let mostEntries = 1 << 15

  /// Files to give, and where in which folder they stand.
  private struct Batch: Sendable {
    let folder: UInt64
    var files: [(place: Int, item: FileItem)] = []
  }

  private struct Followed: Sendable {
    let folder: OpenFolder
    /// The first entry that was neither read nor given.
    var next = 0

    /// The place of a file among the next entries, or one that was given lately.
    func place(of id: UInt64) -> Int? {
      let entries = folder.content.entries
      let near = max(0, next - mostFiles)..<min(entries.count, next + mostFiles)
      return near.first { folder.item.child(entries[$0].item).id == id }
    }
  }

  private struct State: Sendable {
    /// The one that was listed or read last is last.
    var folders: [Followed] = []
    /// How many files to give next.
    var count = 1

    /// What to give to the reader of this file.
    mutating func batch(after id: UInt64) -> Batch? {
      for index in folders.indices.reversed() {
        guard let place = folders[index].place(of: id) else { continue }
        // It was on the way when it was asked for. But the first one nobody gives: it is read once more.
        guard place >= folders[index].next || place == 0 else { return nil }
        let entries = folders[index].folder.content.entries
        let folder = folders[index].folder.item
        var batch = Batch(folder: folder.id)
        var next = place + 1
        while next < entries.count, batch.files.count < count {
          if entries[next].kind == .file {
            batch.files.append((next, folder.child(entries[next].item)))
          }
          next += 1
        }
        folders[index].next = next
        folders.append(folders.remove(at: index))
        count = min(2 * count, FilesAhead.mostFiles)
        return batch
      }
      count = 1
      return nil
    }

    mutating func goBack(to place: Int, in folder: UInt64) {
      count = 1
      guard let index = folders.firstIndex(where: { $0.folder.item.id == folder }) else { return }
      folders[index].next = min(folders[index].next, place)
    }
  }

  private let state = Mutex(State())
  private let thread = DispatchQueue(label: "platter.files-ahead")
  private let kernel: KernelPages
  private let activity: MountActivity

  init(kernel: KernelPages, activity: MountActivity) {
    self.kernel = kernel
    self.activity = activity
  }

  func wasListed(_ folder: OpenFolder) {
    // Not in a stream: the next file's record can be elsewhere, and only who asks may wait for that.
    guard folder.content.entries.count <= Self.mostEntries,
      !folder.item.files.volume.window.disk.canBeFar
    else { return }
    state.withLock { state in
      state.folders.removeAll { $0.folder.item.id == folder.item.id }
      state.folders.append(Followed(folder: folder))
      var entries = state.folders.reduce(0) { $0 + $1.folder.content.entries.count }
      while state.folders.count > Self.mostFolders || entries > Self.mostEntries {
        entries -= state.folders.removeFirst().folder.content.entries.count
      }
    }
  }

  /// - Parameter id: of a file whose beginning was just given to who asked for it.
  func wasRead(_ id: UInt64) {
    guard let batch = state.withLock({ $0.batch(after: id) }), !batch.files.isEmpty else { return }
    thread.async { [self] in
      guard let refused = batch.files.first(where: { !give($0.item) }) else { return }
      // Whoever comes to it asks for it, and is followed from there.
      state.withLock { $0.goBack(to: refused.place, in: batch.folder) }
    }
  }

  /// Returns when nothing is given any more; the kernel must be detached.
  func finish() { thread.sync {} }

  /// False where there is no use in going on.
  private func give(_ item: FileItem) -> Bool {
    do throws(DiskError) {
      let size = try item.files.attributes(of: item.item).size
      guard size > 0, size <= Self.largestFile else { return true }
      let window = try item.files.content(of: item.item)
      let bytes = try window.bytes(at: .start, count: Int(min(size, window.size)))
      guard bytes.count == Int(size) else { return true }
      guard kernel.give(bytes, of: item.id) else { return false }
      activity.didRead(bytes.count)
      return true
    } catch {
      // Whoever asks for it is told.
      return true
    }
  }
}
