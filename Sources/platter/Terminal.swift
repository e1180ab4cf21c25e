internal import DiskCore
internal import Glibc

/// What goes to the person at the other end, as opposed to the output that a program reads.
enum Terminal {
  /// One line on standard error.
  static func say(_ line: String) { show("platter: \(line)\n") }

  /// On standard error; that it cannot be written to is nothing that could be told.
  static func show(_ text: String) {
    let bytes = Array(text.utf8)
    try? unsafe write(bytes.span.bytes, to: 2)
  }

  /// On standard output.
  static func print(_ text: String) throws(DiskError) {
    let bytes = Array(text.utf8)
    try unsafe write(bytes.span.bytes, to: 1)
  }

  static let errorsAreSeen = isatty(2) == 1
  static var outputIsSeen: Bool { isatty(1) == 1 }

  /// In columns; 80 where the output is no terminal.
  static var width: Int {
    var size = winsize()
    guard unsafe ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Everything, or an error.
  static func write(_ bytes: RawSpan, to descriptor: CInt) throws(DiskError) {
    var failure: CInt = 0
    unsafe bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count, failure == 0 {
        let count = unsafe Glibc.write(
          descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
        if count >= 0 { done += count } else if errno != EINTR { failure = errno }
      }
    }
    if failure != 0 { throw DiskError(system: failure, "cannot write the output") }
  }
}

/// Bytes as people write them: `1.5 GiB`, `512 bytes`.
func sizeText(_ bytes: UInt64) -> String {
  let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  guard bytes >= 1024 else { return "\(bytes) bytes" }
  var value = Double(bytes) / 1024
  var unit = 0
  while value >= 1023.95, unit + 1 < units.count {
    value /= 1024
    unit += 1
  }
  let tenths = Int((value * 10).rounded())
  return tenths % 10 == 0
    ? "\(tenths / 10) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
}

extension String {
  /// Filled with spaces to `width` columns, at its end or at its start.
  func padded(_ width: Int, right: Bool = false) -> String {
    let missing = String(repeating: " ", count: Swift.max(0, width - count))
    return right ? missing + self : self + missing
  }
}

/// Rows under headings, each column as wide as it needs to be.
func tableText(_ headings: [String], _ rows: [[String]], right: Set<Int> = []) -> String {
  tableText([headings] + rows, right: right)
}

/// Rows of as many cells each, each column as wide as it needs to be.
func tableText(_ rows: [[String]], right: Set<Int> = []) -> String {
  let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
  return rows.map { row in
    let line = row.enumerated().map { column, cell in
      cell.padded(widths[column], right: right.contains(column))
    }.joined(separator: "  ")
    return withoutTrailingSpaces(line) + "\n"
  }.joined()
}

func withoutTrailingSpaces(_ line: String) -> String {
  var line = line
  while line.last == " " { line.removeLast() }
  return line
}

/// Standard output in large pieces, for what is long and made line by line.
struct OutputBuffer {
  private var text = ""

  mutating func add(_ more: String) throws(DiskError) {
    text += more
    if text.utf8.count > 65536 { try flush() }
  }

  mutating func flush() throws(DiskError) {
    try Terminal.print(text)
    text = ""
  }
}
