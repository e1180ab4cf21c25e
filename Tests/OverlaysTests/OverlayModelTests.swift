import DiskCore
import TestSupport
import Testing

@testable import Overlays

/// Random operations against a plain array of bytes.
struct OverlayModelTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let base: BaseKind
    let isSmall: Bool
    var testDescription: String { "\(base), \(isSmall ? "16" : "128") KiB clusters" }
  }

  static let cases = BaseKind.allCases.flatMap {
    [Case(base: $0, isSmall: true), Case(base: $0, isSmall: false)]
  }

  @Test(arguments: cases)
  func randomOperationsAgree(_ sample: Case) throws {
    for seed in 0..<UInt64(Soak.rounds(2)) { try run(sample, seed) }
  }

  private func run(_ sample: Case, _ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    // Not a multiple of a subcluster, nor of a sector.
    let size = (sample.isSmall ? 17 << 20 : 5 << 20) + 700 + Int(seed)
    // With small clusters, around the border of two tables and at the disk's ends.
    let zones =
      sample.isSmall
      ? [0..<500_000, (16 << 20) - 300_000..<(16 << 20) + 300_000, size - 100_000..<size]
      : [0..<size]
    let base = sample.base.bytes(size)
    var model = base + [UInt8](repeating: 0, count: size - base.count)
    let tuning = sample.isSmall ? OverlayTuning.small : OverlayTuning()
    let file = RecordingStorage(recording: false)
    var current = try OverlaidDisk(
      try Overlay.create(
        in: file, size: UInt64(size), base: sample.base.overlayBase, tuning), base)
    for _ in 0..<250 {
      let zone = zones.randomElement(using: &random) ?? 0..<size
      let offset = Int.random(in: zone, using: &random)
      let longest = Bool.random(using: &random) ? 9000 : 300_000
      let count = Int.random(in: 1...min(longest, size - offset), using: &random)
      let aligned = Bool.random(using: &random)
      let start = aligned ? offset / 4096 * 4096 : offset
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<9:
        let bytes = ImageBytes.pattern(count, seed: random.next())
        try current.disk.put(bytes, at: UInt64(start))
        model.replaceSubrange(start..<start + count, with: bytes)
      case 9..<12:
        try current.disk.zero(at: DiskOffset(UInt64(start)), length: UInt64(count))
        model.replaceSubrange(
          start..<start + count, with: [UInt8](repeating: 0, count: count))
      case 12..<15: try current.disk.flush()
      case 15:
        try current.overlay.close()
        let checked = QcowChecker(file.content)
        #expect(checked.errors == [])
        #expect(checked.leaks == [])
        current = try OverlaidDisk(try Overlay.open(file, tuning), base)
        #expect(!current.overlay.wasRecovered)
      default:
        let read = try current.disk.bytes(at: UInt64(start), count: count)
        try #require(same(read, Array(model[start..<start + count])), "seed \(seed)")
      }
    }
    try #require(same(try current.disk.bytes(at: 0, count: size), model), "seed \(seed)")
    try current.overlay.close()
    let checked = QcowChecker(file.content)
    #expect(checked.errors == [])
    #expect(checked.leaks == [])
  }
}
