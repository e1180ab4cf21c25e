import DiskCore
import TestSupport
import Testing

@Suite struct PatchedStorageTests {
  private func all(_ storage: any Storage) throws -> [UInt8] {
    try storage.bytes(at: .start, count: Int(storage.size))
  }

  @Test func byHand() throws {
    let file = MemoryStorage([1, 2, 3, 4, 5, 6], path: "x")
    let storage = PatchedStorage(
      file,
      patches: [
        .init(at: FileOffset(1), bytes: [10, 11, 12]), .init(zerosAt: FileOffset(2), count: 1),
        .init(at: FileOffset(8), bytes: [20]), .init(at: FileOffset(3), bytes: []),
      ], size: 10)
    #expect(try all(storage) == [1, 10, 0, 12, 5, 6, 0, 0, 20, 0])
    #expect(try all(file) == [1, 2, 3, 4, 5, 6])
    #expect(storage.path == "x" && storage.size == 10)
    #expect(try storage.region(at: FileOffset(2), limit: 9) == .init(isHole: true, length: 1))
    #expect(try storage.region(at: FileOffset(3), limit: 9) == .init(isHole: false, length: 1))
    let error = #expect(throws: DiskError.self) { try storage.bytes(at: FileOffset(9), count: 2) }
    #expect(error?.kind == .truncated)
  }

  @Test(arguments: 0..<50 as Range<UInt64>) func likeWritingThemOneAfterTheOther(
    _ seed: UInt64
  ) throws {
    var random = SeededRandom(seed: seed)
    let file = MemoryStorage(ImageBytes.pattern(200, seed: seed))
    var expected = ImageBytes(ImageBytes.pattern(200, seed: seed))
    expected.grow(to: 300)
    var patches: [PatchedStorage.Patch] = []
    for number in 0..<Int.random(in: 0...30, using: &random) {
      let at = Int.random(in: 0..<300, using: &random)
      let count = Int.random(in: 0...min(60, 300 - at), using: &random)
      if Bool.random(using: &random) {
        patches.append(.init(zerosAt: FileOffset(UInt64(at)), count: UInt64(count)))
        expected.put([UInt8](repeating: 0, count: count), at: at)
      } else {
        let bytes = [UInt8](repeating: UInt8(number + 1), count: count)
        patches.append(.init(at: FileOffset(UInt64(at)), bytes: bytes))
        expected.put(bytes, at: at)
      }
    }
    let storage = PatchedStorage(file, patches: patches, size: 300)
    #expect(try all(storage) == expected.bytes)
    for _ in 0..<20 {
      let start = Int.random(in: 0..<300, using: &random)
      let count = Int.random(in: 0...300 - start, using: &random)
      #expect(
        try storage.bytes(at: FileOffset(UInt64(start)), count: count)
          == Array(expected.bytes[start..<start + count]))
    }
  }

  /// As many as a hostile journal may hold, in the worst order: neither time nor memory by the square,
  /// and none for zeros of 4 EiB.
  @Test func manyPatches() throws {
    var patches = [PatchedStorage.Patch(zerosAt: .start, count: 1 << 62)]
    for number in 0..<65_536 as Range<UInt64> {
      let place = (number &* 40_503) % 65_536 * 8192
      patches.append(.init(zerosAt: FileOffset(place), count: 4096 + number % 3 * 4096))
    }
    patches.append(.init(at: FileOffset(1 << 40), bytes: [7]))
    let clock = ThreadClock()
    let start = clock.now
    let storage = PatchedStorage(
      MemoryStorage([1, 2, 3]), patches: patches, size: 1 << 62)
    #expect(start.duration(to: clock.now) < .seconds(2), "in a debug build")
    #expect(try storage.bytes(at: FileOffset(1 << 40), count: 2) == [7, 0])
    #expect(try storage.bytes(at: .start, count: 4) == [0, 0, 0, 0])
  }
}
