/// What a client can say on a control socket, in a line of its own.
enum ControlWord: String {
  /// Answered with the mount's status as JSON.
  case status
  /// Answered with `waiting` at once, and when the mount has ended and all is written with `done`, or
  /// with what went wrong.
  case wait
  /// End now, although somebody still holds the mount. Not answered.
  case end

  /// The answer to `wait`, before the long silence and after it.
  static let waiting = "waiting\n"
  static let done = "done\n"

  var line: String { rawValue + "\n" }

  init?(line: String) {
    guard line.hasSuffix("\n") else { return nil }
    self.init(rawValue: String(line.dropLast()))
  }
}
