internal import DiskCore

/// Where a symbolic link leads, put together from the components of its `SL` entries (RRIP 1.12, 4.1.3).
struct RockRidgeLink {
  /// In bytes; Linux's `PATH_MAX` without the NUL at its end.
  static let longestTarget = 4095

  private struct Flags: OptionSet {
    let rawValue: UInt8
    static let continues = Flags(rawValue: 0x01)
    static let current = Flags(rawValue: 0x02)
    static let parent = Flags(rawValue: 0x04)
    static let root = Flags(rawValue: 0x08)
  }

  private(set) var target: [UInt8] = []
  /// Whether the next component is a new one.
  private var needsSlash = false

  /// Adds one entry's components.
  ///
  /// - Throws: `malformed` for a target that is too long, a component that reaches past its entry, or a
  ///   NUL.
  mutating func take(_ entry: SystemUseEntry) throws(DiskError) {
    var place = 5
    while place + 2 <= entry.length {
      let flags = Flags(rawValue: try entry.reader.u8(at: place))
      let count = Int(try entry.reader.u8(at: place + 1))
      let content = try entry.reader.slice(at: place + 2, count: count)
      if needsSlash { target.append(0x2F) }
      if flags.contains(.root) {
        target.append(0x2F)
      } else if flags.contains(.current) {
        target.append(0x2E)
      } else if flags.contains(.parent) {
        target += [0x2E, 0x2E]
      } else {
        target += content
      }
      needsSlash = !flags.contains(.continues) && !flags.contains(.root)
      place += 2 + count
      guard target.count <= Self.longestTarget, !content.contains(0) else {
        throw DiskError(
          .malformed,
          "a symbolic link whose target has a NUL in it or more than \(Self.longestTarget) bytes",
          path: entry.reader.path, offset: entry.reader.base)
      }
    }
  }
}
