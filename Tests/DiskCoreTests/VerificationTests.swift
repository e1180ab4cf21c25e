import DiskCore
import Synchronization
import TestSupport
import Testing

/// Counts what it is told of.
final class CountedProgress: VerificationProgress {
  private let state = Mutex((total: UInt64(0), done: UInt64(0)))

  var all: (total: UInt64, done: UInt64) { state.withLock { $0 } }
  func begin(_ what: String, of total: UInt64) { state.withLock { $0.total += total } }
  func advance(by count: UInt64) { state.withLock { $0.done += count } }
}

@Suite struct VerificationTests {
  private func report(
    _ layers: [any ImageLayer], checksums: [RecordedChecksum] = []
  ) throws -> VerificationReport {
    let progress = CountedProgress()
    let verification = Verification(progress: progress)
    verification.verify(try Disk(layers: layers), checksums: ("test", checksums))
    #expect(progress.all.done >= progress.all.total)
    return verification.report
  }

  private func places(_ report: VerificationReport) -> [String] {
    report.damage.map { damage in
      let range = damage.range.map { "\($0.lowerBound)+\($0.count)" } ?? "-"
      return "\(damage.layer ?? -1): \(range) at \(damage.fileOffset ?? 0) ×\(damage.count)"
    }
  }

  @Test func nothingWrong() throws {
    let storage = MemoryStorage(ImageBytes.pattern(3 << 20, seed: 1))
    let report = try report([FlatLayer(storage)])
    #expect(report.isClean && report.checks.isEmpty && report.blocks == 0)
  }

  /// In pages of the file, neighbours joined.
  @Test func badSectors() throws {
    let storage = FaultyStorage(MemoryStorage(ImageBytes.pattern(5 << 20, seed: 1)))
    storage.damage(70_000..<70_001)
    storage.damage((1 << 20) - 10..<(1 << 20) + 10)
    storage.damage(5 << 20 - 1..<5 << 20)
    let report = try report([FlatLayer(storage)])
    #expect(
      places(report) == [
        "0: 69632+4096 at 69632 ×1", "0: 1044480+8192 at 1044480 ×2",
        "0: 5238784+4096 at 5238784 ×1",
      ])
  }

  /// What a layer above covers is read too, and said to be of the layer below.
  @Test func hiddenDamage() throws {
    let base = FaultyStorage(MemoryStorage(ImageBytes.pattern(1 << 20, seed: 1)))
    base.damage(4096..<4097)
    let top = ScriptedLayer([
      .init(.stored(MemoryStorage([UInt8](repeating: 1, count: 65536)), at: .start), 65536),
      .init(.below(DiskOffset(65536)), (1 << 20) - 65536),
    ])
    #expect(try places(report([top, FlatLayer(base)])) == ["1: 4096+4096 at 4096 ×1"])
  }

  @Test func unreadableExtentsAndBlocks() throws {
    let decoder = EveryOtherDamaged()
    let error = DiskError(.malformed, "is bad", path: "x", offset: 7)
    let layer = ScriptedLayer([
      .init(.encoded(decoder, index: 0, at: 0), 4096),
      .init(.encoded(decoder, index: 1, at: 0), 4096),
      .init(.encoded(decoder, index: 3, at: 0), 4096),
      .init(.unreadable(error), 100),
      .init(.encoded(decoder, index: 2, at: 0), 4096),
    ])
    let report = try report([layer])
    #expect(report.blocks == 4)
    #expect(places(report) == ["0: 4096+8292 at 4096 ×3"])
    #expect(report.checks.map { "\($0.kind) \($0.right) \($0.unreadable)" } == ["block sum 2 2"])
  }

  @Test func wrongChecksums() throws {
    let storage = MemoryStorage([UInt8](repeating: 1, count: 8192))
    func sum(_ name: String, _ parts: [RecordedChecksum.Part], _ value: UInt32) -> RecordedChecksum
    {
      RecordedChecksum("sum", name: name, of: parts, is: .known(value), by: { Sum() })
    }
    let report = try report(
      [FlatLayer(storage)],
      checksums: [
        sum("good", [.disk(0..<100), .bytes([5])], 105),
        sum("bad", [.disk(0..<100), .disk(100..<200), .disk(300..<301)], 1),
        sum("file", [.stored(storage, 10..<20), .stored(storage, 30..<40)], 1),
        sum("past the end", [.stored(storage, 8000..<9000)], 1),
      ])
    #expect(report.checks.map { [$0.right, $0.wrong, $0.unreadable] } == [[1, 2, 1]])
    #expect(
      places(report) == [
        "0: 0+200 at 0 ×1", "0: 300+1 at 0 ×1", "0: - at 10 ×1", "0: - at 8000 ×1",
      ])
    #expect(report.damage.contains { $0.fileOffset == 10 && $0.fileLength == 30 })
    #expect(report.damage.contains { $0.kind == .unreadable && $0.range == nil })
  }

  /// No more than the limit is kept; the others are counted.
  @Test func theListIsBounded() throws {
    let error = DiskError(.malformed, "is bad")
    let runs = (0..<2 * (Verification.mostListed + 5)).map { index in
      ScriptedLayer.Run(index % 2 == 0 ? .unreadable(error) : .zero, 10)
    }
    let report = try report([ScriptedLayer(runs)])
    #expect(report.damage.count == Verification.mostListed && report.unlisted == 5)
    #expect(!report.isClean)
  }
}

private struct Sum: RunningChecksum {
  var value: UInt32 = 0

  mutating func add(_ bytes: RawSpan) {
    bytes.withUnsafeBytes { for byte in $0 { value &+= UInt32(byte) } }
  }
}

/// Blocks of zeros, of which odd ones are damaged.
private final class EveryOtherDamaged: BlockDecoder {
  let source: any Storage = MemoryStorage([], path: "x")

  func decodedBytes(of index: UInt64) -> Int { 4096 }
  func checksum(of index: UInt64) -> String? { "block sum" }

  func decode(_ index: UInt64, into buffer: inout MutableRawSpan) throws(DiskError) {
    guard index % 2 == 0 else {
      throw DiskError(.malformed, "is damaged", path: "x", offset: index * 4096)
    }
  }
}
