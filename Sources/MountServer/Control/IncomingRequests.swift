internal import Glibc

/// Clients that have connected and not yet said what they want. None of them is waited for: they are
/// listened to as their bytes come, for a limited time.
struct IncomingRequests {
  /// What became of a client that was listened to.
  enum Word: Equatable {
    /// There is more to come.
    case incomplete
    case request(ControlRequest)
    /// It said something else, or too much.
    case nonsense
    /// It is gone.
    case gone
  }

  private struct Client {
    let descriptor: CInt
    /// When it has had its time, in seconds of the clock that only goes forward.
    let deadline: Int
    var said: [UInt8] = []
  }

  /// How long a client may take for its line, in seconds.
  static let patience = 5
  /// How many are listened to at once: for another one the oldest has to go.
  static let most = 64

  private var clients: [Client] = []

  var descriptors: [CInt] { clients.map(\.descriptor) }

  /// - Returns: a client that had to go for it.
  mutating func add(_ descriptor: CInt, now: Int) -> CInt? {
    clients.append(Client(descriptor: descriptor, deadline: now + Self.patience))
    return clients.count > Self.most ? clients.removeFirst().descriptor : nil
  }

  /// What there is to read of a client, without waiting for it. After any word but `incomplete` it is
  /// the caller's.
  mutating func listen(to descriptor: CInt) -> Word {
    guard let index = clients.firstIndex(where: { $0.descriptor == descriptor }) else {
      return .incomplete
    }
    var piece = [UInt8](repeating: 0, count: 4096)
    let count = unsafe piece.withUnsafeMutableBytes { bytes in
      unsafe recv(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_DONTWAIT))
    }
    if count < 0, errno == EAGAIN || errno == EINTR { return .incomplete }
    clients[index].said += piece.prefix(max(0, count))
    let said = clients[index].said
    let word: Word =
      if count <= 0 {
        .gone
      } else if let end = said.firstIndex(of: UInt8(ascii: "\n")) {
        ControlRequest(line: Array(said[..<end])).map(Word.request) ?? .nonsense
      } else {
        said.count < ControlRequest.longestLine ? .incomplete : .nonsense
      }
    if word != .incomplete { clients.remove(at: index) }
    return word
  }

  /// Those who took too long, who are the caller's now.
  mutating func takeLate(now: Int) -> [CInt] {
    let late = clients.filter { $0.deadline <= now }.map(\.descriptor)
    clients.removeAll { $0.deadline <= now }
    return late
  }
}
