import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Many threads write, discard and flush when the power fails: what any of them flushed is there.
struct OverlayCrowdTests {
  private static let threads = 6
  private static let piece = 3000
  /// Of each thread.
  private static let pieces = 12

  /// What one thread did to one of its pieces, and when, counted in changes of the file.
  private struct Event: Sendable {
    let from: Int
    let piece: Int
    let bytes: [UInt8]
  }

  private struct History: Sendable {
    var events: [Event] = []
    /// A flush had ended when the file had so many changes; it covers so many events.
    var flushes: [(changes: Int, events: Int)] = []
    var failures: [String] = []
  }

  /// Pieces of different threads share subclusters and clusters, around the border of two tables.
  private static func place(_ thread: Int, _ piece: Int) -> UInt64 {
    OverlayTuning.small.geometry.bytesPerTable - 120_000
      + UInt64((piece * threads + thread) * Self.piece)
  }

  @Test func whatAnyThreadFlushedIsThere() throws {
    for seed in 0..<UInt64(Soak.rounds(1)) { try run(seed) }
  }

  private func run(_ seed: UInt64) throws {
    let file = RecordingStorage()
    let tuning = OverlayTuning.small
    let overlay = try Overlay.create(
      in: file, size: tuning.geometry.bytesPerTable + 200_000, base: nil, tuning)
    let disk = try OverlaidDisk(overlay, []).disk
    let created = file.changeCount
    let histories = Threads.results(Self.threads) { thread -> History in
      var random = SeededRandom(seed: seed &* 100 &+ UInt64(thread))
      var history = History()
      do {
        for _ in 0..<50 {
          let piece = Int.random(in: 0..<Self.pieces, using: &random)
          let at = Self.place(thread, piece)
          let kind = Int.random(in: 0..<10, using: &random)
          guard kind < 8 else {
            let count = history.events.count
            try disk.flush()
            history.flushes.append((file.changeCount, count))
            continue
          }
          let bytes =
            kind < 6
            ? ImageBytes.pattern(Self.piece, seed: random.next())
            : [UInt8](repeating: 0, count: Self.piece)
          history.events.append(Event(from: file.changeCount, piece: piece, bytes: bytes))
          if kind < 6 {
            try disk.put(bytes, at: at)
          } else {
            try disk.zero(at: DiskOffset(at), length: UInt64(Self.piece))
          }
        }
      } catch { history.failures.append("\(error)") }
      return history
    }
    #expect(histories.flatMap(\.failures) == [])
    var random = SeededRandom(seed: seed)
    var cuts = PowerCuts(file.changes)
    let places = (0..<25).map { _ in Int.random(in: created...file.changeCount, using: &random) }
    for place in places.sorted() {
      for loss in PowerCuts.Loss.allCases {
        let left = cuts.content(after: place, loss, &random)
        try check(left, histories, place, "seed \(seed), cut \(place), lost \(loss)")
      }
    }
  }

  private func check(
    _ left: PagedBytes, _ histories: [History], _ cut: Int, _ what: String
  ) throws {
    try #require(QcowChecker(left).errors == [], "\(what)")
    let file = RecordingStorage(left, recording: false)
    let overlay = try Overlay.open(file, .small)
    let disk = try OverlaidDisk(overlay, []).disk
    for (thread, history) in histories.enumerated() {
      let flushed = history.flushes.last { $0.changes <= cut }?.events ?? 0
      for piece in 0..<Self.pieces {
        let before = history.events[..<flushed].last { $0.piece == piece }
        let later = history.events[flushed...].filter { $0.piece == piece && $0.from <= cut }
        let known = before?.bytes ?? [UInt8](repeating: 0, count: Self.piece)
        let read = try disk.bytes(at: Self.place(thread, piece), count: Self.piece)
        let isExplained =
          same(read, known)
          || read.indices.allSatisfy { index in
            read[index] == known[index] || later.contains { $0.bytes[index] == read[index] }
          }
        try #require(isExplained, "\(what), piece \(piece) of thread \(thread)")
      }
    }
    try overlay.close()
    let checked = QcowChecker(file.content)
    try #require(checked.errors == [], "\(what)")
    try #require(checked.leaks == [], "\(what)")
  }
}
