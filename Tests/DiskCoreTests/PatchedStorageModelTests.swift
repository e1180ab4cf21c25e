import DiskCore
import TestSupport
import Testing

private typealias Patch = PatchedStorage.Patch

@Suite struct PatchedStorageModelTests {
  private let content = ImageBytes.pattern(1000, seed: 1)

  private func patched(
    _ patches: [Patch], size: UInt64 = 1000, of inner: (any Storage)? = nil
  ) -> PatchedStorage {
    PatchedStorage(
      inner ?? MemoryStorage(content, path: "file.img"), patches: patches, size: size)
  }

  private func patch(_ at: UInt64, _ bytes: [UInt8]) -> Patch {
    Patch(at: FileOffset(at), bytes: bytes)
  }

  private func zeros(_ at: UInt64, _ count: UInt64) -> Patch {
    Patch(zerosAt: FileOffset(at), count: count)
  }

  private func all(_ storage: PatchedStorage) throws -> [UInt8] {
    try storage.bytes(at: .start, count: Int(storage.size))
  }

  @Test func patchesStandInPlaceOfTheFile() throws {
    let inner = FaultyStorage(MemoryStorage(content, path: "file.img"))
    let storage = patched([patch(500, [1, 2, 3]), patch(0, [9]), zeros(700, 10)], of: inner)
    var expected = content
    expected[500...502] = [1, 2, 3]
    expected[0] = 9
    for place in 700..<710 { expected[place] = 0 }
    #expect(try all(storage) == expected)
    for start in [0, 1, 499, 500, 501, 502, 503, 699, 705, 999] {
      for count in [1, 2, 7, 1000 - start] where start + count <= 1000 {
        #expect(
          try storage.bytes(at: FileOffset(UInt64(start)), count: count)
            == Array(expected[start..<start + count]))
      }
    }
    // What is replaced is not read.
    inner.damage(500..<503)
    #expect(try storage.bytes(at: FileOffset(500), count: 3) == [1, 2, 3])
    #expect(throws: DiskError.self) {
      try PatchedStorage(inner, patches: [], size: 1000).bytes(
        at: FileOffset(500), count: 3)
    }
    #expect(storage.path == "file.img" && storage.size == 1000)
  }

  @Test func pastTheEndOfTheFile() throws {
    let storage = patched([patch(1100, [1, 2, 3]), patch(998, [7, 8, 9])], size: 1200)
    var expected = content + [UInt8](repeating: 0, count: 200)
    expected[998...1000] = [7, 8, 9]
    expected[1100...1102] = [1, 2, 3]
    #expect(try all(storage) == expected)
    let error = #expect(throws: DiskError.self) {
      try storage.bytes(at: FileOffset(1199), count: 2)
    }
    #expect(error?.kind == .truncated && error?.offset == 1199 && error?.path == "file.img")
  }

  /// A journal can make a file shorter, too.
  @Test func shorterThanTheFile() throws {
    let storage = patched([patch(95, [1, 2, 3])], size: 100)
    #expect(try all(storage) == Array(content[..<95]) + [1, 2, 3] + content[98..<100])
    #expect(throws: DiskError.self) { try storage.bytes(at: FileOffset(99), count: 2) }
  }

  @Test func laterPatchesWin() throws {
    let cases: [[Patch]] = [
      [patch(10, [1, 1, 1, 1]), patch(11, [2, 2])], [patch(11, [2, 2]), patch(10, [1, 1, 1, 1])],
      [patch(10, [1, 1]), patch(12, [2, 2]), patch(11, [3, 3])],
      [patch(10, [1]), patch(10, [2]), patch(10, [3])], [patch(10, []), zeros(12, 0)],
      [zeros(0, 1000), patch(500, [5]), zeros(499, 3), patch(500, [6])],
    ]
    for (number, patches) in cases.enumerated() {
      var expected = content
      for patch in patches { apply(patch, to: &expected) }
      #expect(try all(patched(patches)) == expected, "case \(number)")
    }
  }

  /// What a patch does, said the plain way: through a storage that has it alone.
  private func apply(_ patch: Patch, to bytes: inout [UInt8]) {
    let range = Int(patch.at.bytes)..<Int(patch.at.bytes + patch.count)
    let alone = PatchedStorage(
      MemoryStorage([]), patches: [patch], size: UInt64(range.upperBound))
    let replaced = try? alone.bytes(at: patch.at, count: range.count)
    #expect(replaced?.count == range.count)
    bytes.replaceSubrange(range, with: replaced ?? [])
  }

  @Test(arguments: Array(1...40) as [UInt64]) func againstAModel(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let size = Int.random(in: 900...1100, using: &random)
    var expected = Array((content + [UInt8](repeating: 0, count: 200)).prefix(size))
    var patches: [Patch] = []
    for _ in 0..<Int.random(in: 0...60, using: &random) {
      let at = Int.random(in: 0..<size, using: &random)
      let count = min(Int.random(in: 0...80, using: &random), size - at)
      if Int.random(in: 0..<4, using: &random) == 0 {
        patches.append(zeros(UInt64(at), UInt64(count)))
        expected.replaceSubrange(at..<at + count, with: repeatElement(0, count: count))
      } else {
        let bytes = ImageBytes.pattern(count, seed: random.next())
        patches.append(patch(UInt64(at), bytes))
        expected.replaceSubrange(at..<at + count, with: bytes)
      }
    }
    let storage = patched(patches, size: UInt64(size))
    #expect(try all(storage) == expected)
    for _ in 0..<100 {
      let start = Int.random(in: 0..<size, using: &random)
      let count = Int.random(in: 0...min(100, size - start), using: &random)
      #expect(
        try storage.bytes(at: FileOffset(UInt64(start)), count: count)
          == Array(expected[start..<start + count]))
    }
    var place: UInt64 = 0
    while place < storage.size {
      let region = try storage.region(at: FileOffset(place), limit: .max)
      try #require(region.length >= 1 && place + region.length <= storage.size)
      if region.isHole {
        let range = Int(place)..<Int(place + region.length)
        #expect(expected[range].allSatisfy { $0 == 0 }, "a hole holds data")
      }
      place += region.length
    }
  }

  @Test func regions() throws {
    let inner = MemoryStorage(size: 1000, pieces: [(at: 0, bytes: [1]), (at: 600, bytes: [1])])
    let storage = patched([patch(100, [1, 2]), zeros(600, 400)], size: 2000, of: inner)
    func region(_ at: UInt64, _ limit: UInt64 = .max) throws -> (Bool, UInt64) {
      let region = try storage.region(at: FileOffset(at), limit: limit)
      return (region.isHole, region.length)
    }
    #expect(try region(0) == (false, 1))
    #expect(try region(1) == (true, 99))
    #expect(try region(1, 5) == (true, 5))
    #expect(try region(100) == (false, 2))
    #expect(try region(101, 1) == (false, 1))
    #expect(try region(102) == (true, 498))
    #expect(try region(600) == (true, 400))
    #expect(try region(1000) == (true, 1000))
    // Past the end is no hole: a read there fails.
    #expect(try region(2000) == (false, .max))
    #expect(try region(1 << 62, 7) == (false, 7))
  }

  /// A journal of a hundred thousand entries, in the worst order, and zeros of a size that nobody has
  /// the memory for.
  @Test func manyAndLarge() throws {
    let clock = ThreadClock()
    var storage = patched([])
    let time = clock.measure {
      let patches = (0..<100_000).reversed().map { patch(UInt64($0 * 8), [1, 2, 3, 4]) }
      storage = patched([zeros(0, 1 << 50)] + patches, size: 1 << 51)
    }
    // A second where it is linear, minutes where it is not.
    #expect(time < .seconds(10))
    #expect(try storage.bytes(at: FileOffset(799_992), count: 8) == [1, 2, 3, 4, 0, 0, 0, 0])
    #expect(try storage.bytes(at: FileOffset(1 << 49), count: 3) == [0, 0, 0])
  }

  @Test func countsAsTheFileThatItIs() throws {
    try HostTools.withFolder { folder in
      try HostTools.write(content, to: "\(folder)/file.img")
      let file = try FileStorage(path: "\(folder)/file.img")
      let storage = patched([patch(0, [1])], of: file)
      // Not one file by itself, but made of one.
      #expect(storage.identity == nil && storage.parts.map(\.identity) == [file.identity])
      #expect(storage.allocatedBytes == file.allocatedBytes)
      #expect(storage.modificationTime == file.modificationTime)
    }
  }
}
