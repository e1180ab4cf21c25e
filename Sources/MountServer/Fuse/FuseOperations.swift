internal import CFuse
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
      server.lookup(unsafe String(cString: name), in: parent, request)
    }
    unsafe table.getattr = { raw, node, _ in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.attributes(of: node, request)
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
    unsafe table.read = { raw, _, size, offset, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.read(
        OpenFile.of(handle: file.pointee.fh), size: size, offset: offset, request)
    }
    unsafe table.release = { raw, _, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      unsafe OpenFile.release(handle: file.pointee.fh)
      request.reply(errno: 0)
    }
    unsafe table.readdir = { raw, node, size, offset, _ in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.entries(of: node, from: Int(offset), size: size, request)
    }
    unsafe table.lseek = { raw, _, offset, whence, file in
      guard let raw = unsafe raw, let file = unsafe file else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      unsafe server.seek(
        OpenFile.of(handle: file.pointee.fh), offset: offset, whence: whence, request)
    }
    unsafe table.statfs = { raw, _ in
      guard let raw = unsafe raw else { return }
      let request = unsafe FuseRequest(raw)
      let server = request.server
      server.fileSystemStatus(request)
    }
    return table
  }
}
