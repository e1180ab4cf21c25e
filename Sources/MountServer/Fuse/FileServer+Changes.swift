internal import CFuse
internal import DiskCore
internal import Glibc
internal import MountTree

/// The requests that change something: on a read-only mount the kernel refuses them itself.
extension FileServer {
  func write(
    _ bytes: UnsafeRawBufferPointer, to file: OpenFile?, offset: off_t,
    _ request: consuming FuseRequest
  ) {
    guard let file, case .window(let window) = file.content, offset >= 0 else {
      return request.reply(errno: EINVAL)
    }
    if let single, UInt64(offset) + UInt64(bytes.count) > window.size {
      // What is collected is written as a whole: a short answer would say nothing.
      let count = Int(window.size - min(window.size, UInt64(offset)))
      let inside = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<count])
      try? unsafe window.write(at: DiskOffset(UInt64(offset)), from: inside.bytes)
      request.reply(errno: ENOSPC)
      return single.wroteTooFar()
    }
    unsafe changes.write(bytes, at: UInt64(offset), to: window, through: file, request)
  }

  /// `FALLOC_FL_KEEP_SIZE`, `FALLOC_FL_PUNCH_HOLE` and `FALLOC_FL_ZERO_RANGE` of fallocate(2).
  private enum Allocation {
    static let keepSize: CInt = 0x01
    static let punchHole: CInt = 0x02
    static let zeroRange: CInt = 0x10
  }

  /// As a block device: ranges become zeros, what is there already needs no allocation, and nothing
  /// grows.
  func allocate(
    _ file: OpenFile?, mode: CInt, offset: off_t, length: off_t, _ request: consuming FuseRequest
  ) {
    guard let file, case .window(let window) = file.content, offset >= 0, length > 0 else {
      return request.reply(errno: EINVAL)
    }
    let start = UInt64(offset)
    let end = start + UInt64(length)
    guard start < window.size, end <= window.size || mode & Allocation.keepSize != 0 else {
      return request.reply(errno: ENOSPC)
    }
    switch mode {
    case 0, Allocation.keepSize:
      request.reply(errno: 0)
    case Allocation.punchHole | Allocation.keepSize, Allocation.zeroRange,
      Allocation.zeroRange | Allocation.keepSize:
      changes.zero(start..<min(end, window.size), of: window, through: file, request)
    default:
      request.reply(errno: EOPNOTSUPP)
    }
  }

  /// Returns to the caller when what was written before is on the disk.
  func synchronize(_ file: OpenFile?, _ request: consuming FuseRequest) {
    guard case .window(let window) = file?.content else { return request.reply(errno: 0) }
    do throws(DiskError) {
      try window.disk.flush()
      request.reply(errno: 0)
    } catch {
      activity.didFailToWrite(error)
      request.reply(errno: error.errno)
    }
  }

  /// One of the holders of a handle has closed it: a partition table that was written is looked at.
  func flush(_ file: OpenFile?, _ request: consuming FuseRequest) {
    // Not opened, so nobody needs to know that it is closed: the kernel need not say so again.
    guard let file else { return request.reply(errno: ENOSYS) }
    longReads.closed(file)
    let gaps = file.takeGaps()
    if let view = file.view, case .window(let window) = file.content, !gaps.isEmpty {
      return changes.fill(gaps, of: window, through: view, request) { [self] in
        showNews(of: file)
      }
    }
    showNews(of: file)
    request.reply(errno: 0)
  }

  func release(_ handle: UInt64, _ request: consuming FuseRequest) {
    if let file = OpenFile.of(handle: handle) {
      showNews(of: file)
      closed(file)
    }
    OpenFile.release(handle: handle)
    request.reply(errno: 0)
  }

  private func showNews(of file: OpenFile) {
    if file.hasNews.exchange(false, ordering: .relaxed) { contentChanged() }
  }

  /// Modes, owners and times are the mount's own: to set them succeeds and changes nothing, so that
  /// `cp -p` is content. A size can only be set to what it is; `O_TRUNC` at open, which comes as a
  /// change to 0 bytes without a handle, is taken and ignored.
  ///
  /// - Parameter file: the handle that `ftruncate(2)` was called on.
  func setAttributes(
    of id: UInt64, _ wanted: stat, changing fields: CInt, through file: OpenFile?,
    _ request: consuming FuseRequest
  ) {
    if tree.item(id) != nil { return request.reply(errno: EROFS) }
    guard let node = tree.node(id) else { return request.reply(errno: ENOENT) }
    guard fields & FUSE_SET_ATTR_SIZE != 0 else {
      return request.reply(attributes: owner.status(of: node), validFor: validity)
    }
    guard case .file(let window) = node.content, window.disk.isWritable, wanted.st_size >= 0 else {
      return request.reply(errno: EPERM)
    }
    let size = UInt64(wanted.st_size)
    if file == nil, size == 0 {
      writing.last(of: id, by: request.thread)?.wasEmptied()
    } else if file?.accepts(size: size, limit: window.size) != true, size != window.size {
      activity.didRefuse(
        "the size of a disk or partition cannot be changed (from \(window.size) to \(size) bytes)")
      return request.reply(errno: EPERM)
    }
    request.reply(attributes: owner.status(of: node), validFor: validity)
  }
}
