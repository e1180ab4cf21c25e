/// Who reads a disk from front to back, of several readers at once, and what they will want next.
///
/// The kernel asks for a reader's next pieces from several threads, so requests come a little out of
/// order: a read near the end of a stream belongs to it.
struct SequentialStreams {
  private struct Stream {
    /// Where its reads end so far.
    var end: UInt64
    /// How many bytes were read in order.
    var length: UInt64 = 0
    /// How far somebody was told to decode.
    var ahead: UInt64 = 0
    var lastUse: UInt64
  }

  /// As many readers as are followed.
  static let most = 16
  /// Two requests of the kernel's usual read-ahead.
  static let slack: UInt64 = 256 << 10
  /// A reader that has not read while so many others came is not counted any more.
  static let recent: UInt64 = 128
  private static let firstWindow: UInt64 = 256 << 10
  /// So far behind its window's end a reader is not told more at once.
  private static let step: UInt64 = 2 << 20

  private let longestWindow: UInt64
  private let room: UInt64
  private var streams: [Stream] = []
  private var clock: UInt64 = 0

  /// - Parameters:
  ///   - longestWindow: how many bytes to be ahead of a reader, at most.
  ///   - room: the same of all of them together.
  init(longestWindow: UInt64, room: UInt64 = .max) {
    self.longestWindow = longestWindow
    self.room = room
  }

  /// A read of `range` has come.
  ///
  /// - Returns: what should be decoded ahead because of it; nil where nothing, or enough is.
  mutating func read(_ range: Range<UInt64>) -> Range<UInt64>? {
    clock += 1
    guard let index = streams.firstIndex(where: { isNext(range, of: $0) }) else {
      if streams.count == Self.most,
        let oldest = streams.indices.min(by: { streams[$0].lastUse < streams[$1].lastUse })
      {
        streams.remove(at: oldest)
      }
      streams.append(Stream(end: range.upperBound, lastUse: clock))
      return nil
    }
    var stream = streams[index]
    stream.lastUse = clock
    stream.length += UInt64(range.count)
    stream.end = max(stream.end, range.upperBound)
    defer { streams[index] = stream }
    // As far ahead as it has come, so that a short run costs little.
    let active = streams.count { $0.length > 0 && clock - $0.lastUse < Self.recent }
    let window = min(
      longestWindow, room / UInt64(max(1, active)), max(Self.firstWindow, stream.length))
    let target = stream.end + window
    let from = max(stream.ahead, stream.end)
    // Half a window at a time, or so much that a thread is busy with it for a while.
    guard window > 0, from < target, target - from >= min(window / 2, Self.step) else {
      return nil
    }
    stream.ahead = target
    return from..<target
  }

  private func isNext(_ range: Range<UInt64>, of stream: Stream) -> Bool {
    if range.lowerBound == stream.end { return true }
    // What has not proved to be a stream has to go on exactly.
    guard stream.length > 0 else { return false }
    return range.lowerBound <= stream.end + Self.slack
      && stream.end <= range.lowerBound + Self.slack
  }
}
