internal import CFuse
internal import DiskCore
internal import FileSystems
internal import Glibc

/// A request of the kernel's that must be answered exactly once. One that is dropped is answered
/// with EIO, so that a forgotten reply is an error and not a hang.
@safe struct FuseRequest: ~Copyable {
  private let raw: fuse_req_t

  init(_ raw: fuse_req_t) { unsafe self.raw = unsafe raw }

  deinit { unsafe fuse_reply_err(raw, EIO) }

  /// What was given to libfuse as the session's owner.
  var server: FileServer {
    unsafe Unmanaged<FileServer>.fromOpaque(fuse_req_userdata(raw)).takeUnretainedValue()
  }

  /// Whose request it is.
  var thread: pid_t { unsafe fuse_req_ctx(raw).pointee.pid }

  /// To be told when nobody waits for the answer any more.
  var interruptible: InterruptibleRequest { unsafe InterruptibleRequest(raw) }

  consuming func reply(written count: Int) {
    unsafe fuse_reply_write(raw, count)
    discard self
  }

  /// Answers without data: 0 for success, otherwise an errno.
  consuming func reply(errno: CInt) {
    unsafe fuse_reply_err(raw, errno)
    discard self
  }

  consuming func reply(entry: fuse_entry_param) {
    var entry = entry
    unsafe fuse_reply_entry(raw, &entry)
    discard self
  }

  consuming func reply(attributes: stat, validFor seconds: Double) {
    var attributes = attributes
    unsafe fuse_reply_attr(raw, &attributes, seconds)
    discard self
  }

  consuming func reply(link: FileName) {
    unsafe link.withTerminated { text in _ = unsafe fuse_reply_readlink(raw, text) }
    discard self
  }

  /// How long an extended attribute's value is.
  consuming func reply(attributeSize size: Int) {
    unsafe fuse_reply_xattr(raw, size)
    discard self
  }

  /// False where the open was interrupted and the handle in `file` will never be released.
  consuming func reply(opened file: UnsafePointer<fuse_file_info>) -> Bool {
    let taken = unsafe fuse_reply_open(raw, file) == 0
    discard self
    return taken
  }

  consuming func reply(bytes: UnsafeRawBufferPointer) {
    unsafe fuse_reply_buf(raw, bytes.baseAddress, bytes.count)
    discard self
  }

  consuming func reply(bytes: ArraySlice<UInt8>) {
    unsafe bytes.withUnsafeBytes { bytes in
      _ = unsafe fuse_reply_buf(raw, bytes.baseAddress, bytes.count)
    }
    discard self
  }

  consuming func reply(_ answer: LongRead.Answer) {
    switch answer {
    case .bytes(let count):
      if let room = unsafe ThreadBuffer.room(for: count) {
        unsafe reply(bytes: UnsafeRawBufferPointer(room))
      } else {
        reply(errno: ENOMEM)
      }
    case .failed(let error): reply(errno: error)
    }
  }

  consuming func reply(position: off_t) {
    unsafe fuse_reply_lseek(raw, position)
    discard self
  }

  consuming func reply(fileSystem: statvfs) {
    var fileSystem = fileSystem
    unsafe fuse_reply_statfs(raw, &fileSystem)
    discard self
  }

  /// Answers with entries of a directory, as many as fit in `size` bytes.
  ///
  /// - Parameter next: fills in the entry at a position and gives its name; nil at the end. The
  ///   position after an entry is one more than the entry's own.
  consuming func reply(
    entriesFrom position: Int, size: Int, next: (Int, inout stat) -> FileName?
  ) {
    var attributes = stat()
    unsafe reply(from: position, size: size) { position, room in
      guard let name = next(position, &attributes) else { return nil }
      return unsafe name.withTerminated { name in
        unsafe fuse_add_direntry(
          raw, room.baseAddress?.assumingMemoryBound(to: CChar.self), room.count, name,
          &attributes, off_t(position + 1))
      }
    }
    discard self
  }

  /// The same, each with all that a look-up of it would have said; without a number in its `ino` it is
  /// only named.
  consuming func reply(
    lookedUpFrom position: Int, size: Int, next: (Int, inout fuse_entry_param) -> FileName?
  ) {
    unsafe reply(from: position, size: size) { position, room in
      var entry = fuse_entry_param()
      guard let name = next(position, &entry) else { return nil }
      return unsafe name.withTerminated { name in
        unsafe fuse_add_direntry_plus(
          raw, room.baseAddress?.assumingMemoryBound(to: CChar.self), room.count, name, &entry,
          off_t(position + 1))
      }
    }
    discard self
  }

  /// - Parameter add: writes the entry at a position into what room there is, if it fits, and gives the
  ///   number of bytes that it needs; nil at the end.
  private borrowing func reply(
    from position: Int, size: Int, add: (Int, UnsafeMutableRawBufferPointer) -> Int?
  ) {
    unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer in
      var used = 0
      var position = position
      while let needed = unsafe add(
        position, UnsafeMutableRawBufferPointer(rebasing: buffer[used...])),
        needed <= size - used
      {
        used += needed
        position += 1
      }
      unsafe fuse_reply_buf(raw, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), used)
    }
  }
}

extension FileName {
  init(cString text: UnsafePointer<CChar>) {
    self.init(unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text))))
  }

  func withTerminated<Result>(_ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    unsafe (bytes + [0]).withUnsafeBufferPointer { text in
      unsafe text.withMemoryRebound(to: CChar.self) { unsafe body($0.baseAddress) }
    }
  }
}

/// A request as far as its interruption goes. Not to be used once it is answered.
@safe struct InterruptibleRequest {
  private let raw: fuse_req_t

  init(_ raw: fuse_req_t) { unsafe self.raw = unsafe raw }

  /// `LongReads.wasInterrupted` is called with `number` when the kernel says that nobody waits for the answer any
  /// more: at once where it has said so already.
  func tellInterruption(as number: UInt) {
    unsafe fuse_req_interrupt_func(
      raw,
      { raw, number in
        guard let raw = unsafe raw else { return }
        unsafe Unmanaged<FileServer>.fromOpaque(fuse_req_userdata(raw)).takeUnretainedValue()
          .longReads.wasInterrupted(UInt(bitPattern: number))
      }, UnsafeMutableRawPointer(bitPattern: number))
  }

  /// Returns when nobody tells of it any more.
  func ignoreInterruption() { unsafe fuse_req_interrupt_func(raw, nil, nil) }
}

extension DiskError {
  /// What the kernel is told. The sentence goes to the log.
  var errno: CInt {
    switch kind {
    case .notFound: ENOENT
    case .permissionDenied: EACCES
    case .busy: EBUSY
    case .invalidRequest: EINVAL
    case .unsupported: EOPNOTSUPP
    case .malformed, .truncated, .unavailable: EIO
    case .inputOutput: systemError == 0 ? EIO : systemError
    }
  }
}
