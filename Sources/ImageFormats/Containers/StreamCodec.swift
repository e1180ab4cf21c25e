internal import DiskCore

/// What one container does with its stream: it begins decoding at an entry point.
protocol StreamCodec: Sendable {
  /// What a cursor takes in memory, in bytes: its decoder's window and its buffers.
  var cursorMemory: Int { get }

  /// A decoder that stands at `point`.
  ///
  /// - Parameters:
  ///   - length: how many bytes there are to the next entry point, where the points are complete: it
  ///     must give neither more nor fewer. Nil to go on to the stream's end.
  ///   - points: takes the entry points that it comes by.
  ///   - findings: where somebody checks the stream: takes what is compared on the way. A checksum that is
  ///     wrong is then no error, and what is behind it is given.
  /// - Throws: what reading the file throws; `unavailable` where there is no memory.
  func cursor(
    at point: EntryPoint, length: UInt64?, _ points: EntryPoints, _ findings: StreamFindings?
  ) throws(DiskError) -> any StreamCursor

  /// Where the passes of a check begin, in order: no checksum is of what lies on both sides of one.
  ///
  /// - Parameter points: all that are known without having decoded anything.
  func sections(_ points: EntryPoints) -> [EntryPoint]

  /// What was compared when the container was opened.
  func checkOpening(_ findings: StreamFindings)
}

extension StreamCodec {
  func sections(_ points: EntryPoints) -> [EntryPoint] {
    points.isComplete ? points.all : [EntryPoint(decoded: 0, stored: points.all[0].stored)]
  }

  func checkOpening(_ findings: StreamFindings) {}
}

/// A live decoder at one place of a stream. Used by one thread at a time.
protocol StreamCursor: AnyObject, Sendable {
  /// How many decoded bytes come before the next one that it gives.
  var position: UInt64 { get }

  /// How many bytes of the file are behind the stream, once its end was reached.
  var trailing: UInt64 { get }

  /// Gives the next bytes of the stream.
  ///
  /// - Returns: how many; fewer than there is room for only at the end, 0 there.
  /// - Throws: `malformed` or `truncated`, naming the place in the file, at the first byte that cannot
  ///   be given, and `inputOutput`. The cursor is then of no more use; `position` is where it failed.
  func read(into buffer: inout MutableRawSpan) throws(DiskError) -> Int
}
