import DiskCore
import TestSupport
import Testing

@testable import ImageFormats

private typealias Run = ScriptedLayer.Run

@Suite struct LayerRowTests {
  private let storage = MemoryStorage(ImageBytes.pattern(4096, seed: 1), path: "a.img")
  private let content = ImageBytes.pattern(4096, seed: 1)

  private func stored(_ at: UInt64, _ length: UInt64) -> Run {
    Run(.stored(storage, at: FileOffset(at)), length)
  }

  private func row(_ layers: [(layer: any ImageLayer, length: UInt64)]) throws(DiskError)
    -> LayerRow
  {
    try LayerRow(layers, description: LayerDescription(format: "row"))
  }

  @Test func oneBehindTheOther() throws {
    // The second gives only a part of itself, the third nothing.
    let layers = [
      ScriptedLayer([stored(0, 100)]), ScriptedLayer([Run(.zero, 50), stored(1000, 50)]),
      ScriptedLayer([stored(3000, 10)]), ScriptedLayer([stored(2000, 30)]),
    ]
    let row = try row([(layers[0], 100), (layers[1], 80), (layers[2], 0), (layers[3], 30)])
    let expected =
      Array(content[0..<100]) + [UInt8](repeating: 0, count: 50) + content[1000..<1030]
      + content[2000..<2030]
    #expect(row.size == 210)
    let window = try Disk(layers: [row]).whole
    for start in 0..<210 {
      #expect(
        try window.bytes(at: DiskOffset(UInt64(start)), count: 210 - start)
          == Array(expected[start...]))
    }
    #expect(row.files.count == 3 && row.description.format == "row")
  }

  /// An answer ends with its part, however long the part's layer says it is.
  @Test func answersEndWithTheirPart() throws {
    let row = try row([
      (ScriptedLayer([stored(0, 1000)]), 100), (ScriptedLayer([Run(.zero, 1000)]), 100),
    ])
    for (offset, length) in [(0, 100), (99, 1), (100, 100), (199, 1)] as [(UInt64, UInt64)] {
      #expect(try row.extent(at: DiskOffset(offset), limit: .max).length == length)
    }
  }

  /// Where a part has nothing, the parent's bytes at the row's place show, not at the part's.
  @Test func whatIsBelow() throws {
    let child = try row([
      (ScriptedLayer([Run(.below(.start), 100)]), 100),
      (ScriptedLayer([Run(.below(.start), 60), Run(.zero, 40)]), 100),
      (ScriptedLayer([Run(.below(DiskOffset(0)), 100)]), 100),
    ])
    let parent = ScriptedLayer([stored(500, 250)])
    let expected =
      Array(content[500..<660]) + [UInt8](repeating: 0, count: 40) + content[700..<750]
      + [UInt8](repeating: 0, count: 50)
    #expect(
      try Disk(layers: [child, parent]).whole.bytes(at: .start, count: 300) == expected)
  }

  @Test func whatDoesNotFit() throws {
    let short = ScriptedLayer([stored(0, 100)])
    let error = #expect(throws: DiskError.self) { try row([(short, 101)]) }
    #expect(error?.kind == .malformed && error?.path == "a.img")
    #expect(error?.message == "holds 100 bytes of the disk where 101 belong")
    let huge = ScriptedLayer([Run(.zero, Limits.largestDisk)])
    #expect(try row([(huge, Limits.largestDisk)]).size == Limits.largestDisk)
    for lengths in [[Limits.largestDisk, 1], [Limits.largestDisk, Limits.largestDisk]] {
      let error = #expect(throws: DiskError.self) { try row(lengths.map { (huge, $0) }) }
      #expect(error?.kind == .unsupported)
    }
    #expect(try row([]).size == 0)
  }

  @Test(arguments: Array(1...20) as [UInt64]) func againstAModel(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    var layers: [(layer: any ImageLayer, length: UInt64)] = []
    var expected: [UInt8] = []
    for _ in 0..<Int.random(in: 1...40, using: &random) {
      let size = Int.random(in: 1...100, using: &random)
      let used = Int.random(in: 0...size, using: &random)
      if Bool.random(using: &random) {
        layers.append((ScriptedLayer([Run(.zero, UInt64(size))]), UInt64(used)))
        expected += [UInt8](repeating: 0, count: used)
      } else {
        let at = Int.random(in: 0...3000, using: &random)
        layers.append((ScriptedLayer([stored(UInt64(at), UInt64(size))]), UInt64(used)))
        expected += content[at..<at + used]
      }
    }
    guard !expected.isEmpty else { return }
    let window = try Disk(layers: [row(layers)]).whole
    #expect(try window.bytes(at: .start, count: expected.count) == expected)
    for start in stride(from: 0, to: expected.count, by: 7) {
      let count = min(50, expected.count - start)
      #expect(
        try window.bytes(at: DiskOffset(UInt64(start)), count: count)
          == Array(expected[start..<start + count]))
    }
  }
}
