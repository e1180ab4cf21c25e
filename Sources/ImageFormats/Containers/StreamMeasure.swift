internal import DiskCore

/// Finds out how large a stream is, decoding no more of it than is needed.
struct StreamMeasure {
  private let stream: ContainedStream
  private let source: any Storage
  private let activity: StreamActivity
  private var points: EntryPoints { stream.points }

  init(_ stream: ContainedStream, _ source: any Storage, _ activity: StreamActivity) {
    self.stream = stream
    self.source = source
    self.activity = activity
  }

  /// The size in decoded bytes, and what to know of it.
  ///
  /// - Parameter isNeeded: whether it must be right. Otherwise what stands in the image's first bytes
  ///   will do.
  /// - Throws: what decoding throws, where nothing tells the size or a wrong one will not do.
  func size(isNeeded: Bool) throws(DiskError) -> (size: UInt64, notes: [String]) {
    if let end = points.end { return (try checked(end), []) }
    let first = decode(from: EntryPoint(decoded: 0, stored: 0), to: OpenedContainer.measuredAtOnce)
    if let failure = first.failure, first.reached == 0 { throw failure }
    if let end = points.end { return (try checked(end), []) }
    if let size = stream.size.single(isNeeded: isNeeded) { return (try checked(size), []) }
    if !isNeeded {
      let inner = InnerSize.atLeast(first.head)
      if let size = stream.size.candidate(atLeast: inner ?? 0) ?? inner {
        return (
          try checked(size),
          ["its size is not certain before it was read to its end once; \(size) bytes are shown"]
        )
      }
    }
    let rest = decode(from: points.last(before: .max).point, to: .max)
    guard let failure = rest.failure else { return (try checked(points.end ?? 0), []) }
    guard !isNeeded, failure.kind != .inputOutput, rest.reached > 0 else { throw failure }
    return (
      try checked(rest.reached),
      ["only the \(rest.reached) bytes before damage are shown: \(failure)"]
    )
  }

  /// Decodes from `point` on until `limit`, the stream's end or damage, and keeps the first bytes.
  private func decode(
    from point: EntryPoint, to limit: UInt64
  ) -> (head: [UInt8], reached: UInt64, failure: DiskError?) {
    var head: [UInt8] = []
    var cursor: (any StreamCursor)?
    do throws(DiskError) {
      let live = try stream.codec.cursor(at: point, length: nil, points, nil)
      cursor = live
      var scratch = [UInt8](repeating: 0, count: SeekableStream.piece)
      defer { activity.progress(nil) }
      while live.position < limit {
        try activity.check()
        activity.progress((live.position, limit == .max ? nil : limit))
        var elements = scratch.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let given = try live.read(into: &buffer)
        if head.count < InnerSize.looked {
          head += scratch.prefix(min(given, InnerSize.looked - head.count))
        }
        if given == 0 {
          points.setEnd(live.position, trailing: live.trailing)
          break
        }
      }
      activity.keep(points)
      return (head, live.position, nil)
    } catch {
      return (head, cursor?.position ?? 0, error)
    }
  }

  private func checked(_ size: UInt64) throws(DiskError) -> UInt64 {
    guard size <= Limits.largestDisk else {
      throw DiskError(
        .unsupported, "decodes to \(size) bytes, more than \(Limits.largestDisk)",
        path: source.path)
    }
    return size
  }
}
