internal import Synchronization

/// What was worked around while a volume was read, for people: a volume is read as its files are looked
/// at, so there may be more of it later.
final class UDFNotes: Sendable {
  /// Of which only the first is kept.
  enum Kind: Hashable {
    case checksum, location, identifier, descriptor, mirror
    case other(String)
  }

  /// Further ones are not kept.
  private static let most = 32

  private struct Kept: Sendable {
    var kinds: Set<Kind> = []
    var notes: [String] = []
  }

  private let kept = Mutex(Kept())

  var all: [String] { kept.withLock { $0.notes } }

  /// Keeps a note where there is none of its kind; without one, its kind is what it says.
  func add(_ note: String, as kind: Kind? = nil) {
    kept.withLock { kept in
      guard kept.notes.count < Self.most, kept.kinds.insert(kind ?? .other(note)).inserted
      else { return }
      kept.notes.append(note)
    }
  }
}
