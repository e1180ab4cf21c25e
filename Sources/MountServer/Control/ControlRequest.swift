internal import Overlays

/// What a client says on a control socket: one line of JSON, which is answered and then closed.
///
/// Anybody who runs as the mount's user can connect, so a line is as untrusted as a file.
struct ControlRequest: Codable, Sendable, Equatable {
  enum Verb: String, Codable, Sendable {
    /// Answered with the mount's `MountStatus`.
    case status
    /// Answered with `waiting` at once, and when the mount has ended and all is written with `done`, or
    /// with what went wrong.
    case wait
    /// End now, although somebody still holds the mount. Not answered.
    case end
    // What follows is answered with a `ControlAnswer`, and done one after the other, in the order in
    // which it was asked for.
    /// The names of the views that the kernel can hold unwritten bytes of.
    case views
    /// Answered when all that the daemon was given until now is on the disk.
    case save
    /// The snapshots that the mount's changes have.
    case snapshots
    /// Each of these with a name.
    case createSnapshot, deleteSnapshot, revert
  }

  var verb: Verb
  var name: String?

  init(_ verb: Verb, name: String? = nil) {
    self.verb = verb
    self.name = name
  }

  /// The longest line that a daemon listens to, in bytes: a snapshot's longest name (65,535 bytes in
  /// qcow2, of which no tool uses more than a few hundred) need not fit.
  static let longestLine = 16 * 1024

  /// With its newline.
  var line: String { JSON.text(of: self) + "\n" }

  /// - Parameter line: without its newline. Nil for what is no request.
  init?(line: [UInt8]) {
    guard line.count < Self.longestLine,
      let request: ControlRequest = JSON.value(from: String(decoding: line, as: UTF8.self))
    else { return nil }
    self = request
  }

  /// The answer to `wait`, before the long silence and after it.
  static let waiting = "waiting\n"
  static let done = "done\n"
}

/// What a daemon answers: one line of JSON.
struct ControlAnswer: Codable, Sendable, Equatable {
  /// Why it was not done: one line for a person; nil where it was.
  var failure: String?
  var views: [String]?
  var snapshots: [Overlay.SnapshotRecord]?

  static func failed(_ line: String) -> ControlAnswer { ControlAnswer(failure: line) }
}
