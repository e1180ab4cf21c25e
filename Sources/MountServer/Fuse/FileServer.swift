internal import CFuse
internal import DiskCore
internal import FileSystems
internal import Glibc
internal import MountTree

/// Answers the kernel's requests out of a mount tree. One object for one mount, called from all of
/// libfuse's threads at once.
final class FileServer: Sendable {
  /// What nothing on a read-only mount can change may be remembered for a day.
  private static let lasting = 86400.0

  let tree: MountTree
  let owner: MountOwner
  let activity: MountActivity
  let changes: ViewChanges
  let writing = WritingHandles()
  let longReads = LongReads()
  /// Nil where there are other views, or nothing can be written.
  let single: SingleView?
  let contentChanged: @Sendable () -> Void
  private let cache: MountRequest.Cache
  /// Whether another program may be changing the image: then nothing is kept from one open to the next.
  private let isShared: Bool
  let isCertain: @Sendable () -> Bool
  private let started: @Sendable () -> Void
  let unopened: UnopenedFiles
  let listingHabits = ListingHabits()
  let filesAhead: FilesAhead
  let listed = ListedFolders()

  /// - Parameters:
  ///   - single: the mount itself, of a writable mount in a regular file's place.
  ///   - isCertain: whether the sizes of what is shown are final.
  ///   - contentChanged: called after something was written, when its file is closed.
  ///   - started: called once when the kernel and the daemon have agreed on the protocol: from then
  ///     on the mount can be used.
  init(
    tree: MountTree, owner: MountOwner, activity: MountActivity, cache: MountRequest.Cache,
    isShared: Bool = false, single: ActiveMount? = nil,
    isCertain: @escaping @Sendable () -> Bool = { true },
    contentChanged: @escaping @Sendable () -> Void,
    started: @escaping @Sendable () -> Void
  ) {
    self.tree = tree
    self.owner = owner
    self.activity = activity
    self.cache = cache
    self.isShared = isShared
    self.isCertain = isCertain
    self.contentChanged = contentChanged
    self.started = started
    unopened = UnopenedFiles(tree)
    let changes = ViewChanges(activity: activity)
    self.changes = changes
    filesAhead = FilesAhead(kernel: changes.kernel, activity: activity)
    // Without the page cache there is nothing to collect writes in.
    self.single =
      cache == .none
      ? nil
      : single.map {
        SingleView($0, modified: owner.modified, kernel: changes.kernel)
      }
  }

  /// For how many seconds the kernel may remember names and attributes. Where things can change it asks
  /// each time: a name can lead to another partition, and a time changes with a write through another
  /// view; a size that is a guess is corrected. Of a single view it knows all but the allocated size itself, and asks before each write.
  var validity: Double {
    if single != nil { return 1 }
    return owner.isWritable || !isCertain() ? 0 : Self.lasting
  }

  /// Whether the kernel keeps pages.
  var cachesPages: Bool { cache == .kernel }

  /// Whether what the kernel knows stays true for as long as the mount lives.
  var isLasting: Bool { !owner.isWritable && !isShared }

  /// Whether the kernel keeps the pages of files, whoever opens them.
  var readsFilesAhead: Bool { isLasting && cachesPages && isCertain() }

  /// Returns when nothing waits for pages of the kernel any more, and nothing will.
  func stopGivingPages() {
    changes.finish()
    filesAhead.finish()
  }

  func start(_ connection: inout fuse_conn_info) {
    // The mount's own times never change, so there is nothing to compare on every read; and replies
    // are written, not spliced: splicing costs three quarters of the speed (DESIGN section 7).
    // With O_TRUNC at open the kernel would take the file for empty; asked to change the size first, we
    // say what the size is.
    let unwanted =
      FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE
      | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_ATOMIC_O_TRUNC
    connection.want &= ~UInt32(unwanted)
    unopened.hear(
      canSkipFiles: connection.capable & UInt32(FUSE_CAP_NO_OPEN_SUPPORT) != 0,
      canSkipFolders: connection.capable & UInt32(FUSE_CAP_NO_OPENDIR_SUPPORT) != 0)
    guard let single else { return started() }
    connection.want |= connection.capable & UInt32(FUSE_CAP_WRITEBACK_CACHE)
    single.prepare(then: started)
  }

  func lookup(_ name: FileName, in parent: UInt64, _ request: consuming FuseRequest) {
    if let folder = tree.item(parent) { return lookup(name, in: folder, request) }
    do throws(DiskError) {
      guard let directory = tree.node(parent),
        let node = try tree.lookup(name.text, in: directory)
      else { return request.reply(errno: ENOENT) }
      if let item = tree.item(node.id) { return request.reply(entry: try entry(of: item)) }
      var entry = fuse_entry_param()
      entry.ino = node.id
      entry.attr = owner.status(of: node)
      entry.attr_timeout = node.isLasting ? validity : 0
      entry.entry_timeout = validity
      request.reply(entry: entry)
    } catch {
      fail(request, error)
    }
  }

  /// - Parameter file: the handle on whose behalf the kernel asks, if any.
  func attributes(
    of id: UInt64, through file: OpenFile?, _ request: consuming FuseRequest
  ) {
    if let single, file?.view?.isWritable == true, single.takeOverrun() {
      return request.reply(errno: ENOSPC)
    }
    if let item = tree.item(id) { return attributes(of: item, request) }
    guard let node = tree.node(id) else { return request.reply(errno: ENOENT) }
    request.reply(
      attributes: owner.status(of: node), validFor: node.isLasting ? validity : 0)
  }

  func link(of id: UInt64, _ request: consuming FuseRequest) {
    if let item = tree.item(id) { return link(of: item, request) }
    guard case .link(let target) = tree.node(id)?.content else {
      return request.reply(errno: EINVAL)
    }
    request.reply(link: FileName(target))
  }

  func open(
    _ id: UInt64, _ file: UnsafeMutablePointer<fuse_file_info>, _ request: consuming FuseRequest
  ) {
    if let item = tree.item(id) { return unsafe open(item, file, request) }
    let opened: OpenFile
    let writes = unsafe file.pointee.flags & O_ACCMODE != O_RDONLY
    unsafe file.pointee.noflush = writes ? 0 : 1
    switch tree.node(id)?.content {
    case .file(let window):
      guard window.disk.isWritable else {
        guard !writes else { return request.reply(errno: EROFS) }
        opened = OpenFile(
          isCertain() ? .window(window) : tree.node(id).map { .provisional($0) } ?? .window(window),
          isCached: cache == .kernel)
        unsafe file.pointee.keep_cache = isShared ? 0 : 1
        // Who is killed while it waits for a decoder closes the file.
        if window.disk.canBeFar { unsafe file.pointee.noflush = 0 }
        break
      }
      guard let view = open(id, window, forWriting: writes, by: request.thread) else {
        return request.reply(errno: EBUSY)
      }
      opened = view
      unsafe file.pointee.keep_cache = opened.view?.opening.keepsPages == true ? 1 : 0
    case .report(let text):
      guard !writes else { return request.reply(errno: EACCES) }
      opened = OpenFile(.text(text()), isCached: false)
    case .directory, .files: return request.reply(errno: EISDIR)
    case .link, nil: return request.reply(errno: ENOENT)
    }
    unsafe file.pointee.direct_io = opened.isCached ? 0 : 1
    let handle = opened.makeHandle()
    unsafe file.pointee.fh = handle
    if unsafe !request.reply(opened: file) {
      closed(opened, isKnown: false)
      OpenFile.release(handle: handle)
    }
  }

  /// - Parameter isKnown: whether the kernel was told that it was open.
  func closed(_ file: OpenFile, isKnown: Bool = true) {
    guard let view = file.view else { return }
    if cache == .kernel { changes.caches.close(view.node, view.opening, forgets: !isKnown) }
    if view.isWritable { writing.remove(file) }
  }

  /// A view of a disk that can change; nil where nobody may write to it now.
  private func open(
    _ id: UInt64, _ window: Window, forWriting: Bool, by thread: pid_t
  ) -> OpenFile? {
    let opening = cache == .kernel ? changes.caches.open(id, window) : .direct
    let file = OpenFile(
      .window(window), isCached: opening.isCached,
      view: OpenFile.View(node: id, opening: opening, isWritable: forWriting))
    guard !forWriting || writing.add(file, to: id, by: thread) else {
      closed(file, isKnown: false)
      return nil
    }
    return file
  }

  /// The read path: from here to the disk's engine and the storage, on this thread, in this
  /// thread's buffer; on a thread of its own where a decoder has a long way to go.
  ///
  /// - Parameter opened: nil where the kernel did not say that it opens the file `id`.
  func read(
    _ opened: OpenFile?, of id: UInt64, size: Int, offset: off_t,
    _ request: consuming FuseRequest
  ) {
    guard offset >= 0 else { return request.reply(errno: EINVAL) }
    do throws(DiskError) {
      read(try file(opened, id), size: size, offset: offset, request)
      if offset == 0, readsFilesAhead { filesAhead.wasRead(id) }
    } catch {
      fail(request, error)
    }
  }

  private func file(_ opened: OpenFile?, _ id: UInt64) throws(DiskError) -> OpenFile {
    if let opened { opened } else { try unopened.file(id) }
  }

  private func read(
    _ file: OpenFile, size: Int, offset: off_t, _ request: consuming FuseRequest
  ) {
    let start = DiskOffset(UInt64(offset))
    if case .text(let text) = file.content {
      return request.reply(
        bytes: text.dropFirst(Int(min(start.bytes, UInt64(text.count)))).prefix(size))
    }
    guard let window = file.window,
      window.way(to: start, count: UInt64(size)) > Limits.shortWay
    else {
      return request.reply(read(file, size, start, nil))
    }
    let left = longReads.start(request, through: file) { [self] waiter in
      read(file, size, start, waiter)
    }
    // Too many wait already.
    if let left { left.reply(read(file, size, start, nil)) }
  }

  /// Reads into this thread's buffer.
  private func read(
    _ file: OpenFile, _ size: Int, _ start: DiskOffset, _ waiter: Waiter?
  ) -> LongRead.Answer {
    while true {
      guard let window = file.window else { return .failed(EINVAL) }
      let count = Int(min(UInt64(size), window.size - min(window.size, start.bytes)))
      // At the end of the file and past it, where only reads that bypass the page cache get.
      guard count > 0 else { return .bytes(0) }
      guard let room = unsafe ThreadBuffer.room(for: count) else { return .failed(ENOMEM) }
      do throws(DiskError) {
        try unsafe read(window, at: start, into: room, for: waiter)
        // Where the end has moved there can be more.
        if !file.shows(window), count < size { continue }
        activity.didRead(count)
        return .bytes(count)
      } catch {
        guard file.shows(window) else {
          // A short answer shows the kernel the file's end only where it has asked since it was told to forget
          // the size; otherwise it would fill up with zeros. It asks again, page by page.
          if file.isCached { return .failed(EIO) }
          continue
        }
        if error.isGivenUp {
          // By somebody else whom we waited for.
          guard waiter?.isGone ?? false else { continue }
          return .failed(EINTR)
        }
        let readable = file.isCached ? 0 : unsafe readablePrefix(of: window, at: start, room)
        activity.didFail(error) { window.unreadableBlock(at: start, count: UInt64(count)) }
        guard readable > 0 else { return .failed(error.errno) }
        return .bytes(readable)
      }
    }
  }

  private func read(
    _ window: Window, at start: DiskOffset, into room: UnsafeMutableRawBufferPointer,
    for waiter: Waiter?
  ) throws(DiskError) {
    var buffer = unsafe room.mutableBytes
    guard let waiter else { return try window.read(at: start, into: &buffer) }
    try waiter.waiting { () throws(DiskError) in try window.read(at: start, into: &buffer) }
  }

  /// How many bytes can be read before the first that cannot, in pages. Only without the kernel's
  /// page cache: with it the kernel asks again page by page, and would take a short answer for the
  /// end of the file.
  private func readablePrefix(
    of window: Window, at start: DiskOffset, _ room: UnsafeMutableRawBufferPointer
  ) -> Int {
    var done = 0
    while done < room.count {
      let count = min(4096, room.count - done)
      var page = unsafe UnsafeMutableRawBufferPointer(rebasing: room[done..<done + count])
        .mutableBytes
      guard (try? window.read(at: start + UInt64(done), into: &page)) != nil else { break }
      done += count
    }
    return done
  }

  /// - Parameter looksUp: whether the kernel would like to know more of each entry. It has to ask: a
  ///   disk's allocated size is counted only for who wants to know it.
  func entries(
    of id: UInt64, from position: Int, size: Int, looksUp: Bool, _ request: consuming FuseRequest
  ) {
    do throws(DiskError) {
      if let folder = try listed.folder(
        id, at: position, or: { () throws(DiskError) in try folder(id) })
      {
        return entries(of: folder, from: position, size: size, looksUp: looksUp, request)
      }
      guard let directory = tree.node(id), case .directory(let list) = directory.content else {
        return request.reply(errno: ENOTDIR)
      }
      let entries = try list.get()
      let next = { [tree, owner] (position: Int, status: inout stat) -> FileName? in
        switch position {
        case 0:
          status = owner.status(of: directory)
          return FileName(".")
        case 1:
          status = owner.status(of: tree.node(directory.parent) ?? directory)
          return FileName("..")
        default:
          guard position >= 2, position - 2 < entries.count else { return nil }
          let entry = entries[position - 2]
          status = owner.kindAndNumber(of: entry.node)
          return FileName(entry.name)
        }
      }
      guard looksUp else {
        return request.reply(entriesFrom: position, size: size, next: next)
      }
      request.reply(lookedUpFrom: position, size: size) { next($0, &$1.attr) }
    } catch {
      fail(request, error)
    }
  }

  /// `SEEK_DATA` and `SEEK_HOLE`; the kernel does the rest itself.
  func seek(
    _ opened: OpenFile?, of id: UInt64, offset: off_t, whence: CInt,
    _ request: consuming FuseRequest
  ) {
    do throws(DiskError) {
      guard let window = try file(opened, id).window, offset >= 0 else {
        return request.reply(errno: EINVAL)
      }
      let start = DiskOffset(UInt64(offset))
      guard start.bytes < window.size else { return request.reply(errno: ENXIO) }
      // Of a single view the kernel can hold data where we see a hole.
      if single != nil, !writing.isEmpty {
        switch whence {
        case SeekWhence.data: return request.reply(position: offset)
        case SeekWhence.hole: return request.reply(position: off_t(window.size))
        default: return request.reply(errno: EINVAL)
        }
      }
      switch whence {
      case SeekWhence.data:
        guard let data = try window.nextData(from: start) else {
          return request.reply(errno: ENXIO)
        }
        request.reply(position: off_t(data.bytes))
      case SeekWhence.hole:
        request.reply(position: off_t(try window.nextHole(from: start).bytes))
      default:
        request.reply(errno: EINVAL)
      }
    } catch {
      fail(request, error)
    }
  }

  func fileSystemStatus(_ request: consuming FuseRequest) {
    request.reply(fileSystem: owner.fileSystemStatus)
  }

  func fail(_ request: consuming FuseRequest, _ error: DiskError) {
    activity.didFail(error)
    request.reply(errno: error.errno)
  }
}
