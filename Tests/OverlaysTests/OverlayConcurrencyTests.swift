import DiskCore
import Glibc
import TestSupport
import Testing

@testable import Overlays

/// Many threads at once, with two tables in memory: loads, evictions, flushes and reuse of space all
/// the time.
struct OverlayConcurrencyTests {
  private static let threads = 8

  @Test func writersKeepTheirOwnBytes() throws {
    let tuning = OverlayTuning.small
    let border = tuning.geometry.bytesPerTable
    let file = RecordingStorage(recording: false)
    let size = border * 3 + 100_000
    let base = MemoryStorage(size: size, pieces: [])
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
    let failures = Threads.results(Self.threads) { thread -> [String] in
      var random = SeededRandom(seed: UInt64(thread))
      var mine = [Int: [UInt8]]()
      var failures: [String] = []
      do {
        for _ in 0..<Soak.rounds(250) {
          let index =
            Int.random(in: 0..<pieces / Self.threads, using: &random) * Self.threads + thread
          let at = place(index)
          switch Int.random(in: 0..<10, using: &random) {
          case 0..<5:
            let bytes = ImageBytes.pattern(piece, seed: random.next())
            try disk.put(bytes, at: at)
            mine[index] = bytes
          case 5..<7:
            try disk.zero(at: DiskOffset(at), length: UInt64(piece))
            mine[index] = [UInt8](repeating: 0, count: piece)
          case 7: try disk.flush()
          default:
            let expected = mine[index] ?? [UInt8](repeating: 0, count: piece)
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
    try overlay.close()
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.leaks == [])
  }

  /// Several small writes to one cluster that is not there yet share its place.
  @Test func writersOfOneClusterShareIt() throws {
    let file = RecordingStorage(recording: false)
    let base = BaseKind.raw.bytes(1 << 20)
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: BaseKind.raw.overlayBase)
    let disk = try OverlaidDisk(overlay, base).disk
    let errors = Threads.results(Self.threads) { thread -> String? in
      do {
        for index in 0..<4 {
          try disk.put(
            ImageBytes.pattern(4096, seed: UInt64(index * 8 + thread)),
            at: UInt64((index * 8 + thread) * 4096))
        }
        return nil
      } catch { return "\(error)" }
    }
    #expect(errors.compactMap { $0 } == [])
    for index in 0..<32 {
      #expect(
        same(
          try disk.bytes(at: UInt64(index * 4096), count: 4096),
          ImageBytes.pattern(4096, seed: UInt64(index))))
    }
    try overlay.close()
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.dataClusters == 1)
  }

  /// However many wait for a table, it is read once.
  @Test func aTableIsReadOnce() throws {
    let file = RecordingStorage(recording: false)
    let overlay = try Overlay.create(in: file, size: 1 << 30, base: nil)
    try OverlaidDisk(overlay, []).disk.put([1], at: 5)
    try overlay.close()
    let opened = try Overlay.open(file)
    let disk = try OverlaidDisk(opened, []).disk
    let reads = Shared(0)
    file.beforeRead { _, count in
      guard count == 131072 else { return }
      reads.change { $0 += 1 }
      // Until the others are there.
      usleep(200_000)
    }
    let read = Threads.results(Self.threads) { _ in try? disk.bytes(at: 5, count: 1) }
    #expect(read.allSatisfy { $0 == [1] })
    #expect(reads.value == 1)
  }

  /// Flushes that wait for one that is going on are served together by the next.
  @Test func waitingFlushesAreServedTogether() throws {
    let file = RecordingStorage()
    let overlay = try Overlay.create(in: file, size: 1 << 20, base: nil)
    let disk = try OverlaidDisk(overlay, []).disk
    let before = file.flushes
    let isFirst = Shared(true)
    let entered = Shared(false)
    let others = Shared(0)
    file.beforeFlush {
      var wasFirst = false
      isFirst.change {
        wasFirst = $0
        $0 = false
      }
      guard wasFirst else { return }
      entered.change { $0 = true }
      Threads.wait { others.value == Self.threads - 1 }
    }
    let errors = Threads.results(Self.threads) { thread -> String? in
      do {
        if thread > 0 { Threads.wait { entered.value } }
        others.change { $0 += thread > 0 ? 1 : 0 }
        try disk.flush()
        return nil
      } catch { return "\(error)" }
    }
    #expect(errors.compactMap { $0 } == [])
    // The first one, and one for the seven that waited.
    #expect(file.flushes - before <= 3)
  }
}
