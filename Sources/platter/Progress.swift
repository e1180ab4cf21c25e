internal import DiskCore

/// One line on the terminal that says how far a long task has come; silent where standard error is
/// no terminal.
struct Progress {
  private let total: UInt64
  private let title: String
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var shown: ContinuousClock.Instant
  private var done: UInt64 = 0

  /// - Parameter total: in bytes.
  init(of total: UInt64, _ title: String) {
    self.total = total
    self.title = title
    start = clock.now
    shown = clock.now
  }

  mutating func advance(by count: UInt64) {
    done += count
    guard Terminal.errorsAreSeen, clock.now - shown > .milliseconds(200) else { return }
    shown = clock.now
    let seconds = max(0.001, (clock.now - start) / .seconds(1))
    let rate = Double(done) / seconds
    let left = Int((Double(total - min(done, total)) / max(1, rate)).rounded(.up))
    let percent = total == 0 ? 100 : Int(Double(done) / Double(total) * 100)
    Terminal.show("\r\(title)  \(percent)%  \(sizeText(UInt64(rate)))/s  \(left) s left\u{1b}[K")
  }

  /// Clears the line.
  func end() {
    if Terminal.errorsAreSeen { Terminal.show("\r\u{1b}[K") }
  }
}
