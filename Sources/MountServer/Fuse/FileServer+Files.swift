internal import CFuse
internal import DiskCore
internal import FileSystems
internal import Glibc
internal import MountTree

/// What is asked about the files inside a file system.
extension FileServer {
  func lookup(_ name: FileName, in folder: FileItem, _ request: consuming FuseRequest) {
    do throws(DiskError) {
      guard let found = try folder.files.lookUp(name, in: folder.item) else {
        return request.reply(errno: ENOENT)
      }
      if found.kind != .folder { listingHabits.didLookAtFile() }
      request.reply(entry: try entry(of: folder.child(found.item)))
    } catch {
      fail(request, error)
    }
  }

  /// What a look-up says of an item.
  func entry(of item: FileItem) throws(DiskError) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = item.id
    entry.attr = try owner.status(of: item)
    entry.attr_timeout = validity
    entry.entry_timeout = validity
    return entry
  }

  func attributes(of item: FileItem, _ request: consuming FuseRequest) {
    do throws(DiskError) {
      request.reply(attributes: try owner.status(of: item), validFor: validity)
    } catch {
      fail(request, error)
    }
  }

  func link(of item: FileItem, _ request: consuming FuseRequest) {
    do throws(DiskError) {
      request.reply(link: try item.files.target(of: item.item))
    } catch {
      fail(request, error)
    }
  }

  /// A file's content is read like a disk's. On a disk that can change nothing is kept from one open to
  /// the next.
  func open(
    _ item: FileItem, _ file: UnsafeMutablePointer<fuse_file_info>, _ request: consuming FuseRequest
  ) {
    guard unsafe file.pointee.flags & O_ACCMODE == O_RDONLY else {
      return request.reply(errno: EROFS)
    }
    if isLasting, isCertain(), cachesPages, unopened.skipsFiles {
      return request.reply(errno: ENOSYS)
    }
    do throws(DiskError) {
      let window = try item.files.content(of: item.item)
      let opened = OpenFile(.window(window), isCached: cachesPages)
      // Who is killed on a long way closes its file: that is how we hear of it (`LongReads`).
      unsafe file.pointee.noflush = window.disk.canBeFar ? 0 : 1
      unsafe file.pointee.direct_io = cachesPages ? 0 : 1
      unsafe file.pointee.keep_cache = isLasting ? 1 : 0
      let handle = opened.makeHandle()
      unsafe file.pointee.fh = handle
      if unsafe !request.reply(opened: file) { OpenFile.release(handle: handle) }
    } catch {
      fail(request, error)
    }
  }

  /// - Parameter file: where the handle goes; the folder stays as it is now for who holds it.
  func openFolder(
    _ id: UInt64, _ file: UnsafeMutablePointer<fuse_file_info>, _ request: consuming FuseRequest
  ) {
    // Where no folder can change, the kernel need not say that it opens and closes one, which is half of the
    // requests of a walk through a tree. From this answer on it does not.
    if isLasting, isCertain(), unopened.skipsFolders { return request.reply(errno: ENOSYS) }
    do throws(DiskError) {
      guard let opened = try folder(id) else {
        unsafe file.pointee.fh = 0
        _ = unsafe request.reply(opened: file)
        return
      }
      unsafe file.pointee.cache_readdir = isLasting ? 1 : 0
      unsafe file.pointee.keep_cache = isLasting ? 1 : 0
      let handle = opened.makeHandle()
      unsafe file.pointee.fh = handle
      if unsafe !request.reply(opened: file) { OpenFolder.release(handle: handle) }
    } catch {
      fail(request, error)
    }
  }

  /// The folder that a listing is of, where the kernel said nothing of opening it; nil for the tree's own.
  func folder(_ id: UInt64) throws(DiskError) -> OpenFolder? {
    guard let item = tree.item(id) else { return nil }
    return OpenFolder(item, try item.files.folder(item.item))
  }

  /// - Parameter looksUp: whether to say of each entry what a look-up would.
  func entries(
    of folder: OpenFolder, from position: Int, size: Int, looksUp: Bool,
    _ request: consuming FuseRequest
  ) {
    let entries = folder.content.entries
    if position == 0, readsFilesAhead { filesAhead.wasListed(folder) }
    // `.` and `..` are the kernel's business; it wants to see their names.
    if position >= entries.count + 2, let damage = folder.content.damage {
      return fail(request, damage)
    }
    guard looksUp else {
      return request.reply(entriesFrom: position, size: size) { position, status in
        guard let name = folder.name(at: position) else { return nil }
        status = folder.kindAndNumber(at: position)
        return name
      }
    }
    let tellsOfFiles = listingHabits.wantsFiles(entries: entries.count)
    request.reply(lookedUpFrom: position, size: size) { position, found in
      guard let name = folder.name(at: position) else { return nil }
      if position >= 2, tellsOfFiles || entries[position - 2].kind == .folder,
        let known = try? entry(of: folder.item.child(entries[position - 2].item))
      {
        found = known
      } else {
        found.attr = folder.kindAndNumber(at: position)
      }
      return name
    }
  }

  /// - Parameters:
  ///   - name: nil for the list of all names, each with a NUL behind it.
  ///   - size: how much the caller takes; 0 to be told how much there is.
  func extendedAttributes(
    of id: UInt64, named name: String?, size: Int, _ request: consuming FuseRequest
  ) {
    do throws(DiskError) {
      guard let item = tree.item(id) else { return request.reply(errno: EOPNOTSUPP) }
      // `ls -l` wants an access control list and a capability of each file. Told that there can be none, it
      // asks once for all; told that this file has none, for each.
      if let name, !(try item.files.canHaveAttribute(name)) {
        return request.reply(errno: EOPNOTSUPP)
      }
      let all = try item.files.extendedAttributes(of: item.item)
      let answer: [UInt8]
      if let name {
        guard let found = all.first(where: { $0.name == name }) else {
          return request.reply(errno: ENODATA)
        }
        answer = found.value
      } else {
        answer = all.flatMap { Array($0.name.utf8) + [0] }
      }
      if size == 0 { return request.reply(attributeSize: answer.count) }
      guard answer.count <= size else { return request.reply(errno: ERANGE) }
      request.reply(bytes: answer[...])
    } catch {
      fail(request, error)
    }
  }
}
