internal import CPosix
internal import DiskCore
internal import Glibc

/// One end of a socket pair between two processes of a mount: whole messages in order, the open
/// /dev/fuse descriptor with one of them.
struct Channel: ~Copyable, Sendable {
  /// What the processes of one mount tell each other.
  enum Message: Sendable {
    /// Daemon to supervisor: the image is open; mount.
    case opened
    /// Supervisor to daemon: serve the descriptor that comes with this, of the mounted file system
    /// that the kernel numbers so.
    case serve(device: String)
    /// Daemon to supervisor, supervisor to command: the mount can be used. What to tell the user.
    case ready(notes: [String])
    /// Daemon to supervisor, supervisor to command: it did not work, or it worked for a while and
    /// then no more, and why.
    case failed(line: String)
    /// Command to supervisor: it has heard, and will tell the user.
    case heard
    /// Daemon to supervisor: somebody asked the daemon to end; unmount.
    case endRequested
    /// Supervisor to daemon: the mount is gone, or going; end when all is written.
    case end
  }

  /// The largest message: a line with paths in it.
  private static let longestMessage = 64 * 1024

  private let socket: OwnedDescriptor

  init(adopting descriptor: CInt) { socket = OwnedDescriptor(adopting: descriptor) }

  var descriptor: CInt { socket.number }

  /// Both ends, neither of which survives an exec.
  static func pair() throws(DiskError) -> (CInt, CInt) { try pair(of: SOCK_SEQPACKET) }

  /// The kind that fusermount3 wants.
  static func streamPair() throws(DiskError) -> (CInt, CInt) { try pair(of: SOCK_STREAM) }

  private static func pair(of type: __socket_type) throws(DiskError) -> (CInt, CInt) {
    var ends: [CInt] = [-1, -1]
    let type = CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else {
      throw DiskError(system: errno, "cannot make a socket pair")
    }
    return (ends[0], ends[1])
  }

  /// False where the other side is gone.
  @discardableResult
  func send(_ message: Message, descriptor: CInt = -1) -> Bool {
    let text = Array(message.text.utf8)
    return unsafe text.withUnsafeBytes { bytes in
      unsafe platter_send(socket.number, bytes.baseAddress, bytes.count, descriptor) == bytes.count
    }
  }

  /// The next message and the descriptor that came with it (-1 for none); nil where the other side
  /// is gone. Waits for it.
  func receive() -> (message: Message, descriptor: CInt)? {
    var bytes = [UInt8](repeating: 0, count: Self.longestMessage)
    var descriptor: CInt = -1
    var count = -1
    repeat {
      count = unsafe bytes.withUnsafeMutableBytes { bytes in
        unsafe platter_receive(socket.number, bytes.baseAddress, bytes.count, &descriptor)
      }
    } while count < 0 && errno == EINTR
    guard count > 0,
      let message = Message(String(decoding: bytes.prefix(count), as: UTF8.self))
    else { return nil }
    return (message, descriptor)
  }
}

extension Channel.Message {
  /// A word, and what belongs to it behind NULs, which are in no line of text.
  fileprivate var text: String {
    switch self {
    case .opened: "opened"
    case .serve(let device): "serve\0" + device
    case .ready(let notes): (["ready"] + notes).joined(separator: "\0")
    case .failed(let line): "failed\0" + line
    case .heard: "heard"
    case .endRequested: "endRequested"
    case .end: "end"
    }
  }

  fileprivate init?(_ text: String) {
    let parts = text.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
    switch parts[0] {
    case "opened": self = .opened
    case "serve": self = .serve(device: parts.dropFirst().joined())
    case "ready": self = .ready(notes: Array(parts.dropFirst()))
    case "failed": self = .failed(line: parts.dropFirst().joined())
    case "heard": self = .heard
    case "endRequested": self = .endRequested
    case "end": self = .end
    default: return nil
    }
  }
}
