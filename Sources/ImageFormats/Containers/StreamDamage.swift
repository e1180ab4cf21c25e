internal import DiskCore
internal import Synchronization

/// What of a stream cannot be decoded, so that it is not tried again and again.
final class StreamDamage: Sendable {
  /// How many places are remembered.
  private static let most = 1024

  private struct Place: Sendable {
    /// What cannot be decoded because of something before it or in it.
    let range: Range<UInt64>
    let error: DiskError
  }

  private let places = Mutex<[Place]>([])

  /// - Throws: what was found out of the decoded bytes around `place`.
  func check(_ place: UInt64) throws(DiskError) {
    if let known = places.withLock({ $0.first { $0.range.contains(place) } }) { throw known.error }
  }

  /// What is wrong at `place` keeps everything up to `end`, the next entry point, from being read.
  func remember(_ error: DiskError, at place: UInt64, upTo end: UInt64) {
    guard error.kind == .malformed || error.kind == .truncated else { return }
    places.withLock { places in
      guard place < end, places.count < Self.most,
        !places.contains(where: { $0.range.contains(place) })
      else { return }
      places.append(Place(range: place..<end, error: error))
    }
  }
}
