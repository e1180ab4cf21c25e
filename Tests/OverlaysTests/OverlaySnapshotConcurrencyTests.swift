import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Snapshots with many writers, and with readers meanwhile.
struct OverlaySnapshotConcurrencyTests {
  private typealias History = OverlaySnapshotTests.History

  /// Threads write over what snapshots have, and nothing of any of them is lost.
  @Test func writersOverSharedClusters() throws {
    let threads = 8
    let tuning = OverlayTuning.small
    let border = tuning.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let size = border * 3 + 100_000
    let base = ImageBytes.pattern(1000, seed: 4)
    let overlay = try Overlay.create(
      in: file, size: size, base: BaseKind.raw.overlayBase, tuning)
    let disk = try OverlaidDisk(overlay, base).disk
    // Each thread has every eighth piece of 3,000 bytes: pieces share subclusters and clusters, and
    // lie in four tables.
    let piece = 3000
    let pieces = 160
    let zones = [0, border - 240_000, border * 2 - 240_000, border * 3 - 380_000]
    @Sendable func place(_ index: Int) -> UInt64 {
      zones[index % 4] + UInt64(index / 4 * piece)
    }
    func all(_ disk: Disk) throws -> [UInt8] {
      try zones.flatMap { try disk.bytes(at: $0, count: pieces / 4 * piece) }
    }
    for index in 0..<pieces where index % 5 > 0 {
      try disk.put(ImageBytes.pattern(piece, seed: UInt64(index)), at: place(index))
    }
    var saved: [String: [UInt8]] = [:]
    for round in 0..<Soak.rounds(4) {
      let name = "\(round) "
      try overlay.createSnapshot(name)
      saved[name] = try all(disk)
      let failures = Threads.results(threads) { thread -> [String] in
        var random = SeededRandom(seed: UInt64(thread + 100 * round))
        var mine = [Int: [UInt8]]()
        var failures: [String] = []
        do {
          for _ in 0..<60 {
            let index = Int.random(in: 0..<pieces / threads, using: &random) * threads + thread
            let at = place(index)
            switch Int.random(in: 0..<8, using: &random) {
            case 0..<5:
              let bytes = ImageBytes.pattern(piece, seed: random.next())
              try disk.put(bytes, at: at)
              mine[index] = bytes
            case 5:
              try disk.zero(at: DiskOffset(at), length: UInt64(piece))
              mine[index] = [UInt8](repeating: 0, count: piece)
            case 6: try disk.flush()
            default:
              guard let expected = mine[index] else { continue }
              if !same(try disk.bytes(at: at, count: piece), expected) {
                failures.append("piece \(index) of thread \(thread)")
              }
            }
          }
          for (index, bytes) in mine
          where !same(try disk.bytes(at: place(index), count: piece), bytes) {
            failures.append("at the end piece \(index) of thread \(thread)")
          }
        } catch {
          failures.append("\(error)")
        }
        return failures
      }
      #expect(failures.flatMap { $0 } == [])
      if round % 4 == 3 {
        let gone = try #require(saved.keys.randomElement())
        try overlay.deleteSnapshot(gone)
        saved[gone] = nil
      }
    }
    let now = try all(disk)
    for (name, expected) in saved {
      try overlay.revert(to: name)
      #expect(same(try all(disk), expected), "\(name)")
    }
    #expect(!same(try all(disk), now))
    try overlay.close()
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.leaks == [])
  }

  /// Reads go on while snapshots come and go, and see what is there or what was there.
  @Test func readersMeanwhile() throws {
    let history = try History(.raw, seed: 6)
    for _ in 0..<8 { try history.write() }
    try history.overlay.createSnapshot("a")
    let first = history.model
    for _ in 0..<8 { try history.write() }
    let second = history.model
    try history.overlay.createSnapshot("b")
    let disk = history.disk
    let overlay = history.overlay
    let isOver = Shared(false)
    let failures = Threads.results(4) { thread -> String? in
      var random = SeededRandom(seed: UInt64(thread))
      do {
        if thread == 0 {
          defer { isOver.change { $0 = true } }
          for round in 0..<Soak.rounds(12) {
            try overlay.revert(to: round % 2 == 0 ? "a" : "b")
            try overlay.createSnapshot("c")
            try disk.flush()
            try overlay.deleteSnapshot("c")
            try disk.flush()
          }
          return nil
        }
        while !isOver.value {
          // Within one cluster: what is read is of one moment.
          let at = Int.random(in: 0..<first.count / 512, using: &random) * 512
          let count = min(512, first.count - at)
          let read = try disk.bytes(at: UInt64(History.zone.lowerBound + at), count: count)
          let unit = History.zone.lowerBound % 512
          if unit == 0, !same(read, Array(first[at..<at + count])),
            !same(read, Array(second[at..<at + count]))
          {
            return "at \(at)"
          }
          for index in 0..<count
          where read[index] != first[at + index] && read[index] != second[at + index] {
            return "at \(at + index)"
          }
        }
        return nil
      } catch { return "\(error)" }
    }
    #expect(failures.compactMap { $0 } == [])
    try overlay.close()
    #expect(QcowChecker(history.file.content).errors == [])
    #expect(QcowChecker(history.file.content).leaks == [])
  }

  /// While somebody is between `reserve` and `publish` nothing is done, and said.
  @Test func notWhileSomebodyWrites() throws {
    let history = try History(.none, seed: 6)
    let reservation = try history.overlay.reserve(at: .start, length: 4096)
    let error = #expect(throws: DiskError.self) { try history.overlay.createSnapshot("a") }
    #expect(error?.kind == .busy)
    history.overlay.abandon(reservation)
    try history.overlay.createSnapshot("a")
    #expect(try history.overlay.snapshots.map(\.name) == ["a"])
    try history.overlay.close()
    #expect(throws: DiskError.self) { try history.overlay.createSnapshot("b") }
  }
}
