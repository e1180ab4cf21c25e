internal import CFuse
internal import FileSystems
internal import Glibc

/// The table of callbacks for libfuse: each hands its request to the file server and nothing more.
///
/// Built here and not in main.swift, where closures would be the main actor's and trap on libfuse's
/// threads.
enum FuseOperations {
  static func table() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    unsafe table.`init` = { owner, connection in
      guard let owner = unsafe owner, let connection = unsafe connection else { return }
      unsafe Unmanaged<FileServer>.fromOpaque(owner).takeUnretainedValue()
        .start(&connection.pointee)
    }
    unsafe table.lookup = { raw, parent, name in
      guard let raw = unsafe raw, let name = unsafe name else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.lookup(unsafe FileName(cString: name), in: parent, request)
    }
    unsafe table.getattr = { raw, node, file in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.attributes(
        of: node, through: unsafe file.flatMap { unsafe OpenFile.of(handle: $0.pointee.fh) },
        request)
    }
    unsafe table.readlink = { raw, node in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.link(of: node, request)
    }
    unsafe table.open = { raw, node, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.open(node, file, request)
    }
    unsafe table.read = { raw, node, size, offset, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.read(
        OpenFile.of(handle: file.pointee.fh), of: node, size: size, offset: offset, request)
    }
    unsafe table.release = { raw, _, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.release(file.pointee.fh, request)
    }
    unsafe table.lseek = { raw, node, offset, whence, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.seek(
        OpenFile.of(handle: file.pointee.fh), of: node, offset: offset, whence: whence, request)
    }
    unsafe table.statfs = { raw, _ in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.fileSystemStatus(request)
    }
    addFolders(to: &table)
    addChanges(to: &table)
    return table
  }

  /// What is asked about folders, and about the files in file systems.
  private static func addFolders(to table: inout fuse_lowlevel_ops) {
    unsafe table.opendir = { raw, node, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.openFolder(node, file, request)
    }
    unsafe table.readdir = { raw, node, size, offset, file in
      guard let raw = unsafe raw else { return }
      unsafe FuseOperations.list(raw, node, size, offset, file, looksUp: false)
    }
    unsafe table.readdirplus = { raw, node, size, offset, file in
      guard let raw = unsafe raw else { return }
      unsafe FuseOperations.list(raw, node, size, offset, file, looksUp: true)
    }
    unsafe table.releasedir = { raw, _, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      unsafe OpenFolder.release(handle: file.pointee.fh)
      unsafe FuseRequest(raw).reply(errno: 0)
    }
    unsafe table.getxattr = { raw, node, name, size in
      guard let raw = unsafe raw, let name = unsafe name else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.extendedAttributes(
        of: node, named: unsafe String(cString: name), size: size, request)
    }
    unsafe table.listxattr = { raw, node, size in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.extendedAttributes(of: node, named: nil, size: size, request)
    }
  }

  private static func list(
    _ raw: fuse_req_t, _ node: fuse_ino_t, _ size: Int, _ offset: off_t,
    _ file: UnsafeMutablePointer<fuse_file_info>?, looksUp: Bool
  ) {
    let request = unsafe FuseRequest(raw)
    let server = request.server
    guard let folder = unsafe file.flatMap({ unsafe OpenFolder.of(handle: $0.pointee.fh) }) else {
      return server.entries(
        of: node, from: Int(offset), size: size, looksUp: looksUp, request)
    }
    server.entries(of: folder, from: Int(offset), size: size, looksUp: looksUp, request)
  }

  /// What only comes on a writable mount.
  private static func addChanges(to table: inout fuse_lowlevel_ops) {
    unsafe table.write = { raw, _, bytes, count, offset, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.write(
        UnsafeRawBufferPointer(start: bytes, count: count),
        to: OpenFile.of(handle: file.pointee.fh), offset: offset, request)
    }
    unsafe table.fallocate = { raw, _, mode, offset, length, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.allocate(
        OpenFile.of(handle: file.pointee.fh), mode: mode, offset: offset, length: length, request)
    }
    unsafe table.fsync = { raw, _, _, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.synchronize(OpenFile.of(handle: file.pointee.fh), request)
    }
    unsafe table.flush = { raw, _, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.flush(OpenFile.of(handle: file.pointee.fh), request)
    }
    unsafe table.setattr = { raw, node, wanted, fields, file in
      guard let raw = unsafe raw, let wanted = unsafe wanted else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.setAttributes(
        of: node, wanted.pointee, changing: fields,
        through: file.flatMap { unsafe OpenFile.of(handle: $0.pointee.fh) }, request)
    }
    // What the tree holds is the image's: nothing can be added, renamed or taken away.
    unsafe table.mknod = { raw, _, _, _, _ in unsafe FuseOperations.refuse(raw) }
    unsafe table.mkdir = { raw, _, _, _ in unsafe FuseOperations.refuse(raw) }
    unsafe table.unlink = { raw, _, _ in unsafe FuseOperations.refuse(raw) }
    unsafe table.rmdir = { raw, _, _ in unsafe FuseOperations.refuse(raw) }
    unsafe table.symlink = { raw, _, _, _ in unsafe FuseOperations.refuse(raw) }
    unsafe table.rename = { raw, _, _, _, _, _ in unsafe FuseOperations.refuse(raw) }
    unsafe table.link = { raw, _, _, _ in unsafe FuseOperations.refuse(raw) }
  }

  private static func refuse(_ raw: fuse_req_t?) {
    guard let raw = unsafe raw else { return }
    unsafe FuseRequest(raw).reply(errno: EPERM)
  }
}
