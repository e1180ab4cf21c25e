internal import Synchronization

/// Who is told how far a verification is.
public protocol VerificationProgress: Sendable {
  /// A pass of `total` bytes begins.
  func begin(_ what: String, of total: UInt64)
  /// From any thread.
  func advance(by count: UInt64)
}

/// Reads everything that an image consists of and checks every checksum that it has, going on behind
/// damage.
///
/// What there is to check is said by `VerifiableStream`, `ChecksummedLayer` and `BlockDecoder`; here it is
/// read and compared.
public final class Verification: Sendable {
  /// How many damaged places are listed, of 200 bytes each; the others are counted.
  public static let mostListed = 10_000

  private struct State: Sendable {
    var damage = DamageList()
    var counts: [(of: String, counts: CheckCounts)] = []
    var blocks = 0
  }

  private let state = Mutex(State())
  let workers = Workers()
  let progress: any VerificationProgress

  public init(progress: any VerificationProgress) { self.progress = progress }

  /// Goes through a stream, whose damage the caller hands to `verify(_:streams:checksums:)`.
  public func verify(_ stream: any VerifiableStream) -> StreamFindings {
    progress.begin(stream.streamName, of: stream.size)
    let findings = StreamFindings()
    stream.verify(findings, workers) { [progress] in progress.advance(by: $0) }
    workers.wait()
    count(stream.streamName, findings.counts)
    return findings
  }

  /// Goes through every layer of a disk by itself, so that what a layer above covers is read too.
  ///
  /// - Parameters:
  ///   - streams: those that the disk's bytes come from, gone through before, and what was found.
  ///   - checksums: what is recorded in the disk itself, and by what.
  public func verify(
    _ disk: Disk, streams: [(stream: any VerifiableStream, findings: StreamFindings)] = [],
    checksums: (of: String, all: [RecordedChecksum]) = ("", [])
  ) {
    let content = CheckedContent(streams)
    progress.begin("disk", of: disk.layers.reduce(0) { $0 + $1.size })
    for (index, layer) in disk.layers.enumerated() {
      let name = layer.description.format
      var alreadyRead: [Range<UInt64>] = []
      if let checksummed = layer as? any ChecksummedLayer,
        let alone = try? Disk(layers: [layer], blocks: BlockCache())
      {
        let comparison = ChecksumComparison(self, alone, layer: index, content)
        alreadyRead = comparison.run(checksummed.checksums, of: name)
      }
      LayerWalk(self, layer, index, content, alreadyRead: alreadyRead).run()
      workers.wait()
    }
    let comparison = ChecksumComparison(self, disk, layer: 0, content)
    _ = comparison.run(checksums.all, of: checksums.of)
    for damage in content.notOfTheDisk() { add(damage) }
    state.withLock { $0.damage.addUnlisted(content.unlisted) }
  }

  func add(_ damage: Damage) { state.withLock { $0.damage.add(damage) } }

  func count(_ name: String, _ counts: CheckCounts) {
    guard !counts.all.isEmpty else { return }
    state.withLock { state in
      let found = state.counts.firstIndex { $0.of == name }
      if found == nil { state.counts.append((name, CheckCounts())) }
      state.counts[found ?? state.counts.count - 1].counts.add(counts)
    }
  }

  func countBlocks(_ count: Int) { state.withLock { $0.blocks += count } }

  /// What was found until now.
  public var report: VerificationReport {
    state.withLock { state in
      VerificationReport(
        checks: state.counts.flatMap { entry in
          entry.counts.all.map { count in
            VerificationReport.Check(
              of: entry.of, kind: count.kind, right: count.right, wrong: count.wrong,
              unreadable: count.unreadable)
          }
        }, blocks: state.blocks, damage: state.damage.all, unlisted: state.damage.unlisted)
    }
  }
}

/// What a verification has found.
public struct VerificationReport: Sendable {
  /// The checksums of one kind.
  public struct Check: Sendable {
    /// What has them: a container, a format, a partition table.
    public let of: String
    public let kind: String
    public let right: Int
    public let wrong: Int
    /// Those that could not be computed, because what they are of cannot be read.
    public let unreadable: Int
  }

  public let checks: [Check]
  /// How many compressed blocks were decoded, besides streams around the image.
  public let blocks: Int
  /// By layer and place.
  public let damage: [Damage]
  /// How many more there are.
  public let unlisted: Int

  public var isClean: Bool { damage.isEmpty && unlisted == 0 }
}
