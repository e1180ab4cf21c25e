import DiskCore
import TestSupport
import Testing

private typealias Run = ScriptedLayer.Run

/// The engine over layers that say what a test wrote down.
@Suite struct DiskEngineTests {
  private let stored = FaultyStorage(MemoryStorage(ImageBytes.pattern(4096, seed: 1)))
  private let content = ImageBytes.pattern(4096, seed: 1)

  private func place(_ offset: UInt64) -> Extent.Place { .stored(stored, at: FileOffset(offset)) }

  private func read(_ layers: [ScriptedLayer], at offset: UInt64 = 0, _ count: Int) throws
    -> [UInt8]
  {
    try Disk(layers: layers).whole.bytes(at: DiskOffset(offset), count: count)
  }

  @Test func everyKindOfPlace() throws {
    let bottom = ScriptedLayer([Run(place(2000), 100)])
    let top = ScriptedLayer([
      Run(.zero, 10), Run(place(0), 20), Run(.below(DiskOffset(50)), 30), Run(place(1000), 40),
    ])
    var expected = [UInt8](repeating: 0, count: 10)
    for range in [0..<20, 2050..<2080, 1000..<1040] { expected += content[range] }
    #expect(try read([top, bottom], 100) == expected)
    for start in 0..<100 {
      #expect(
        try read([top, bottom], at: UInt64(start), 100 - start) == Array(expected[start...]))
    }
    #expect(try read([top, bottom], at: 100, 0) == [])
  }

  @Test func unreadableFailsOnlyReadsThatTouchIt() throws {
    let error = DiskError(.malformed, "is damaged here", path: "x", offset: 99)
    let layer = ScriptedLayer([Run(place(0), 10), Run(.unreadable(error), 5), Run(place(10), 10)])
    #expect(try read([layer], 10) == Array(content[0..<10]))
    #expect(try read([layer], at: 15, 10) == Array(content[10..<20]))
    for (offset, count) in [(9, 2), (10, 1), (14, 1), (14, 11), (0, 25)] as [(UInt64, Int)] {
      let thrown = #expect(throws: DiskError.self) { try read([layer], at: offset, count) }
      #expect(thrown?.message == "is damaged here" && thrown?.offset == 99)
    }
  }

  @Test func aLayerThatEndsEarlierReadsAsZerosPastItsEnd() throws {
    let bottom = ScriptedLayer([Run(place(0), 100)], size: 7)
    let top = ScriptedLayer([Run(.below(.start), 20)])
    let zeros = [UInt8](repeating: 0, count: 13)
    #expect(try read([top, bottom], 20) == Array(content[0..<7]) + zeros)
    #expect(try read([top, bottom], at: 7, 13) == zeros)
    // It starts past the end of the one below.
    let far = ScriptedLayer([Run(.below(DiskOffset(.max)), 20)])
    #expect(try read([far, bottom], 20) == zeros + zeros.prefix(7))
  }

  @Test func belowTheLastLayerAreZeros() throws {
    let layers = (0..<3).map { _ in ScriptedLayer([Run(.below(DiskOffset(3)), 64)]) }
    #expect(try read(layers, 64) == [UInt8](repeating: 0, count: 64))
  }

  @Test func belowMovesAlongInEveryLayer() throws {
    let layers = [
      ScriptedLayer([Run(.below(DiskOffset(5)), 50)]),
      ScriptedLayer([Run(.zero, 10), Run(.below(DiskOffset(100)), 90)]),
      ScriptedLayer([Run(.zero, 105), Run(place(7), 50)]),
    ]
    // Byte 5 of the top is byte 10 of the second and 100 of the third; data starts 5 later.
    let expected = [UInt8](repeating: 0, count: 10) + content[7..<47]
    #expect(try read(layers, 50) == expected)
  }

  @Test func neighboursBecomeOneRead() throws {
    let layer = ScriptedLayer(
      [Run(place(0), 2048), Run(place(2048), 1000), Run(place(3048), 1048)],
      answers: .upToMultiples(of: 512))
    #expect(try read([layer], 4096) == content)
    #expect(stored.reads == [FaultyStorage.Read(offset: 0, count: 4096)])
    stored.forgetReads()
    #expect(try read([layer], at: 100, 3000) == Array(content[100..<3100]))
    #expect(stored.reads == [FaultyStorage.Read(offset: 100, count: 3000)])
  }

  @Test func whatIsNotNextToItIsReadAlone() throws {
    let other = FaultyStorage(MemoryStorage(ImageBytes.pattern(4096, seed: 2)))
    let layer = ScriptedLayer([
      Run(place(0), 10), Run(place(11), 10),  // one byte left out
      Run(place(11), 10),  // the same again
      Run(.stored(other, at: FileOffset(21)), 10),  // next to it, but elsewhere
      Run(.zero, 1), Run(place(21), 10),  // next to the third, but not here
    ])
    var expected: [UInt8] = []
    for range in [0..<10, 11..<21, 11..<21] { expected += content[range] }
    expected += ImageBytes.pattern(4096, seed: 2)[21..<31]
    expected.append(0)
    expected += content[21..<31]
    #expect(try read([layer], 51) == expected)
    #expect(stored.reads.map(\.offset) == [0, 11, 11, 21])
    #expect(other.reads == [FaultyStorage.Read(offset: 21, count: 10)])
  }

  @Test func neighboursInTheFileWithZerosBetweenThemOnTheDisk() throws {
    let layer = ScriptedLayer([Run(place(0), 10), Run(.zero, 5), Run(place(10), 10)])
    let expected = content[0..<10] + [0, 0, 0, 0, 0] + content[10..<20]
    #expect(try read([layer], 25) == Array(expected))
    #expect(stored.reads.map(\.count) == [10, 10])
  }

  @Test func neighboursOfDifferentLayersBecomeOneRead() throws {
    let bottom = ScriptedLayer([Run(.zero, 10), Run(place(10), 10)])
    let top = ScriptedLayer([Run(place(0), 10), Run(.below(DiskOffset(10)), 10)])
    #expect(try read([top, bottom], 20) == Array(content[0..<20]))
    #expect(stored.reads.count == 1)
  }

  @Test func aReadOfZerosReadsNothing() throws {
    let layer = ScriptedLayer([Run(.zero, 1 << 40)])
    #expect(try read([layer], at: 1 << 39, 4096) == [UInt8](repeating: 0, count: 4096))
    #expect(layer.questions == 1 && stored.reads.isEmpty)
  }

  @Test func whatIsOutsideTheDiskIsRefused() throws {
    let disk = try Disk(layers: [ScriptedLayer([Run(place(0), 100)])])
    for (offset, count) in [(100, 1), (99, 2), (101, 0), (.max, 1), (.max, 0)] as [(UInt64, Int)] {
      let error = #expect(throws: DiskError.self) {
        try disk.whole.bytes(at: DiskOffset(offset), count: count)
      }
      #expect(error?.kind == .invalidRequest && error?.offset == offset)
    }
    #expect(stored.reads.isEmpty)
  }

  @Test func disksThatCannotBe() throws {
    #expect(throws: DiskError.self) { try Disk(layers: []) }
    let largest = ScriptedLayer([Run(.zero, Limits.largestDisk)])
    #expect(try Disk(layers: [largest]).size == Limits.largestDisk)
    let error = #expect(throws: DiskError.self) {
      try Disk(layers: [ScriptedLayer([Run(place(0), Limits.largestDisk + 1)])])
    }
    #expect(error?.kind == .unsupported && error?.path == "memory.img")
    // Only the top layer's size counts.
    #expect(
      try Disk(layers: [ScriptedLayer([Run(.below(.start), 8)]), largest]).size == 8)
  }

  @Test func aLayerThatThrowsFailsTheRead() throws {
    // Runs that end before the layer does: the script itself refuses.
    let layer = ScriptedLayer([Run(place(0), 10)], size: 20)
    #expect(try read([layer], 10) == Array(content[0..<10]))
    #expect(throws: DiskError.self) { try read([layer], 11) }
  }

  /// A driver checks its offsets; where one did not, the engine still must not trap.
  @Test(arguments: [4095, 4096, 1 << 62, 1 << 63, .max - 9, .max] as [UInt64])
  func placesThatCannotBe(_ at: UInt64) throws {
    let layer = ScriptedLayer([Run(.stored(stored, at: FileOffset(at)), 1), Run(.zero, 9)])
    let window = try Disk(layers: [layer, layer]).whole
    if at >= 4096 {
      let error = #expect(throws: DiskError.self) { try window.bytes(at: .start, count: 10) }
      #expect(error?.kind == .truncated)
    }
    _ = try window.mapEntry(at: .start)
    try window.forEachMapEntry { _ in }
    _ = window.allocatedBytes()
    _ = try window.nextHole(from: .start)
  }

  @Test func filesAreListedFromTheTop() throws {
    let other = MemoryStorage([1])
    let disk = try Disk(layers: [
      ScriptedLayer([Run(.stored(other, at: .start), 1)]), ScriptedLayer([Run(place(0), 1)]),
    ])
    #expect(
      disk.files.map { ObjectIdentifier($0) } == [
        ObjectIdentifier(other), ObjectIdentifier(stored),
      ])
  }
}
