import DiskCore
import Synchronization

/// A layer that answers what a test wrote down for it.
public final class ScriptedLayer: ImageLayer {
  public struct Run: Sendable {
    public let place: Extent.Place
    public let length: UInt64

    public init(_ place: Extent.Place, _ length: UInt64) {
      self.place = place
      self.length = length
    }
  }

  /// How much of a run one answer tells.
  public enum Answers: Sendable {
    /// The rest of the run, however much the caller cares for.
    case whole
    /// Up to the next multiple of this many bytes: what a bitmap of sectors gives.
    case upToMultiples(of: UInt64)
  }

  public let size: UInt64
  public let tableBytes: UInt64
  public let files: [any Storage]
  public let description = LayerDescription(format: "scripted")
  private let starts: [UInt64]
  private let runs: [Run]
  private let answers: Answers
  private let asked = Mutex(0)

  /// - Parameter runs: one behind the other, at least up to `size`, which is their end unless said
  ///   otherwise.
  public init(
    _ runs: [Run], size: UInt64? = nil, answers: Answers = .whole, tableBytes: UInt64 = 0
  ) {
    var end: UInt64 = 0
    var starts: [UInt64] = []
    for run in runs {
      starts.append(end)
      end += run.length
    }
    self.starts = starts
    self.runs = runs
    self.size = size ?? end
    self.answers = answers
    self.tableBytes = tableBytes
    files = runs.compactMap { run in
      switch run.place {
      case .stored(let storage, _): storage
      case .encoded(let decoder, _, _): decoder.source
      case .zero, .below, .unreadable: nil
      }
    }
  }

  /// How many times it was asked.
  public var questions: Int { asked.withLock { $0 } }

  public func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    asked.withLock { $0 += 1 }
    guard offset.bytes < size, limit > 0,
      let index = starts.lastIndex(where: { $0 <= offset.bytes }),
      offset.bytes - starts[index] < runs[index].length
    else {
      throw DiskError(.invalidRequest, "asked outside the layer", offset: offset.bytes)
    }
    let within = offset.bytes - starts[index]
    let rest = runs[index].length - within
    let length =
      switch answers {
      case .whole: rest
      case .upToMultiples(let unit): min(rest, unit - offset.bytes % unit)
      }
    switch runs[index].place {
    case .stored(let storage, let at):
      return Extent(.stored(storage, at: at + within), length: length)
    case .below(let at): return Extent(.below(at + within), length: length)
    case .zero: return Extent(.zero, length: length)
    case .encoded(let decoder, let index, let at):
      return Extent(.encoded(decoder, index: index, at: at + Int(within)), length: length)
    case .unreadable(let error): return Extent(.unreadable(error), length: length)
    }
  }
}
