/// Where the bytes of one file are: pieces in their order, without gaps.
struct UDFRuns: Sendable {
  enum Content: Sendable {
    /// Allocated and never written, or not even allocated.
    case zero
    /// From the start of this block on.
    case recorded(UDFAddress)
    /// In the file's own entry: in bytes from the volume's start.
    case inEntry(UInt64)
  }

  struct Run: Sendable {
    /// Where in the file it starts, and its length; both in bytes.
    let start: UInt64
    var length: UInt64
    let content: Content
  }

  private(set) var runs: [Run] = []
  /// In bytes.
  private(set) var length: UInt64 = 0

  /// Adds a piece of at most 2³⁰ bytes; one that continues the one before it becomes part of that.
  mutating func append(_ content: Content, length added: UInt64, blockSize: UInt64) {
    if let last = runs.last, Self.continues(last, content, blockSize) {
      runs[runs.count - 1].length += added
    } else {
      runs.append(Run(start: length, length: added, content: content))
    }
    length += added
  }

  private static func continues(_ run: Run, _ content: Content, _ blockSize: UInt64) -> Bool {
    switch (run.content, content) {
    case (.zero, .zero): true
    case (.recorded(let first), .recorded(let next)):
      first.partition == next.partition && run.length % blockSize == 0
        && UInt64(first.block) + run.length / blockSize == UInt64(next.block)
    default: false
    }
  }

  /// The piece that `offset` is in, and how far it is from its start; nil behind the last.
  func run(at offset: UInt64) -> (run: Run, within: UInt64)? {
    guard offset < length else { return nil }
    // The last one that starts at or before the offset.
    var (low, high) = (0, runs.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if runs[middle].start <= offset { low = middle } else { high = middle }
    }
    return (runs[low], offset - runs[low].start)
  }
}
