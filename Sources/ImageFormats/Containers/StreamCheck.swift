internal import DiskCore

extension SeekableStream {
  /// Goes through the whole stream from the stored file, section by section, beside each other where there
  /// are several, and tells `findings` of each checksum and of what cannot be decoded.
  ///
  /// Entry points that were found or kept are not used: only those that the file itself has an index of.
  func check(
    _ findings: StreamFindings, _ workers: Workers, advance: @escaping @Sendable (UInt64) -> Void
  ) {
    codec.checkOpening(findings)
    let sections = codec.sections(points)
    let points = points.isComplete ? points : EntryPoints(spacing: .max)
    for (index, section) in sections.enumerated() {
      let next = index + 1 < sections.count ? sections[index + 1].decoded : nil
      workers.add { [self] in
        let pass = SectionPass(
          stream: self, section: section, end: points.isComplete ? next ?? points.end : nil, points,
          findings, advance)
        let reached = pass.run()
        if next == nil, let reached { findings.reachedEnd(reached) }
      }
    }
    workers.wait()
  }
}

/// Decodes one section of a stream from its start to its end.
private struct SectionPass {
  private let stream: SeekableStream
  private let section: EntryPoint
  /// In decoded bytes; nil where only decoding tells.
  private let end: UInt64?
  private let points: EntryPoints
  private let findings: StreamFindings
  private let advance: @Sendable (UInt64) -> Void

  init(
    stream: SeekableStream, section: EntryPoint, end: UInt64?, _ points: EntryPoints,
    _ findings: StreamFindings, _ advance: @escaping @Sendable (UInt64) -> Void
  ) {
    self.stream = stream
    self.section = section
    self.end = end
    self.points = points
    self.findings = findings
    self.advance = advance
  }

  /// - Returns: where it ended, in decoded bytes; nil where damage kept it from its end.
  func run() -> UInt64? {
    var cursor: (any StreamCursor)?
    do throws(DiskError) {
      let live = try stream.codec.cursor(
        at: section, length: end.map { $0 - section.decoded }, points, findings)
      cursor = live
      var scratch = [UInt8](repeating: 0, count: SeekableStream.piece)
      while end.map({ live.position < $0 }) ?? true {
        try stream.activity.check()
        let place = live.position
        var elements = scratch.mutableSpan
        var buffer = unsafe elements.mutableBytes
        if try live.read(into: &buffer) == 0 { break }
        advance(live.position - place)
      }
      if let end, live.position < end {
        throw DiskError(
          .malformed, "a part of the stream ends before its index says", path: stream.source.path)
      }
      return live.position
    } catch {
      let place = cursor?.position ?? section.decoded
      // Where it is not known how long the rest is: as long as it is shown.
      findings.unreadable(place..<max(place, end ?? stream.size), error)
      return nil
    }
  }
}

extension StreamFindings? {
  /// Tells who checks the stream whether a checksum was right, or throws where nobody does.
  func compare(
    _ isRight: Bool, _ kind: String, over range: Range<UInt64>,
    _ error: @autoclosure () -> DiskError
  ) throws(DiskError) {
    guard let self else {
      if isRight { return }
      throw error()
    }
    if isRight { self.right(kind) } else { self.wrong(kind, over: range, error()) }
  }
}
