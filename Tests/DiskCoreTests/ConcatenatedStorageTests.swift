import DiskCore
import TestSupport
import Testing

@Suite struct ConcatenatedStorageTests {
  private let content = ImageBytes.pattern(100, seed: 6)

  /// Parts that end at these places of `content`.
  private func parts(_ ends: [Int]) -> [FaultyStorage] {
    var start = 0
    return ends.map { end in
      defer { start = end }
      return FaultyStorage(MemoryStorage(Array(content[start..<end]), path: "part.\(end)"))
    }
  }

  /// No part, one, empty ones in front, between and behind.
  @Test(arguments: [[100], [1, 100], [40, 41, 100], [0, 0, 50, 50, 50, 99, 100, 100]])
  func readsAcrossEveryBoundary(_ ends: [Int]) throws {
    let storage = try ConcatenatedStorage(parts(ends))
    #expect(storage.size == 100 && storage.parts.count == ends.count)
    #expect(storage.path == "part.\(ends[0])")
    for start in 0...100 {
      for end in start...100 {
        let bytes = try storage.bytes(at: FileOffset(UInt64(start)), count: end - start)
        #expect(bytes == Array(content[start..<end]))
      }
    }
  }

  @Test func readsOnlyThePartsThatAreTouched() throws {
    let parts = parts([0, 30, 60, 100])
    let storage = try ConcatenatedStorage(parts)
    _ = try storage.bytes(at: FileOffset(35), count: 10)
    #expect(parts.map(\.reads.count) == [0, 0, 1, 0])
    _ = try storage.bytes(at: FileOffset(29), count: 32)
    #expect(parts[1].reads == [.init(offset: 29, count: 1)])
    #expect(parts[2].reads.last == .init(offset: 0, count: 30))
    #expect(parts[3].reads == [.init(offset: 0, count: 1)])
  }

  @Test(arguments: [(100, 1), (99, 2), (101, 0), (.max, 1), (.max, 0)] as [(UInt64, Int)])
  func readsPastTheEnd(_ offset: UInt64, _ count: Int) throws {
    let storage = try ConcatenatedStorage(parts([50, 100]))
    let error = #expect(throws: DiskError.self) {
      try storage.bytes(at: FileOffset(offset), count: count)
    }
    #expect(error?.kind == .truncated && error?.offset == offset && error?.path == "part.100")
    #expect(try storage.region(at: FileOffset(offset), limit: 3).length >= 1)
  }

  @Test func regionsEndWithTheirPart() throws {
    let storage = try ConcatenatedStorage([
      MemoryStorage(size: 100, pieces: [(0, [1, 2, 3])], path: "a"),
      MemoryStorage([]),
      MemoryStorage(size: 50, pieces: [(10, [4])], path: "b"),
    ])
    func region(_ offset: UInt64, _ limit: UInt64 = .max) throws -> StorageRegion {
      try storage.region(at: FileOffset(offset), limit: limit)
    }
    #expect(try region(0) == StorageRegion(isHole: false, length: 3))
    #expect(try region(3) == StorageRegion(isHole: true, length: 97))
    #expect(try region(3, 10) == StorageRegion(isHole: true, length: 10))
    #expect(try region(100) == StorageRegion(isHole: true, length: 10))
    #expect(try region(110) == StorageRegion(isHole: false, length: 1))
    #expect(try region(149) == StorageRegion(isHole: true, length: 1))
    #expect(storage.allocatedBytes == 4)
    #expect(storage.modificationTime == (1_000_000_000, 0))
    let window = try Disk(layers: [FlatLayer(storage)]).whole
    #expect(try window.nextData(from: DiskOffset(3))?.bytes == 110)
    #expect(try window.nextHole(from: DiskOffset(110)).bytes == 111)
  }

  @Test func onePartFailsOnlyItsOwnReads() throws {
    let parts = parts([30, 60, 100])
    parts[1].damage(0..<100)
    let storage = try ConcatenatedStorage(parts)
    #expect(try storage.bytes(at: .start, count: 30) == Array(content[..<30]))
    #expect(try storage.bytes(at: FileOffset(60), count: 40) == Array(content[60...]))
    let error = #expect(throws: DiskError.self) { try storage.bytes(at: FileOffset(29), count: 2) }
    #expect(error?.kind == .inputOutput && error?.path == "part.60" && error?.offset == 0)
  }

  @Test func sizesThatCannotBe() throws {
    #expect(throws: DiskError.self) { try ConcatenatedStorage([]) }
    let half = MemoryStorage(size: Limits.largestDisk / 2, pieces: [])
    #expect(try ConcatenatedStorage([half, half]).size == Limits.largestDisk)
    let one = MemoryStorage([1], path: "one")
    let error = #expect(throws: DiskError.self) { try ConcatenatedStorage([half, half, one]) }
    #expect(error?.kind == .unsupported && error?.path == "one")
    let huge = MemoryStorage(size: .max, pieces: [])
    #expect(throws: DiskError.self) { try ConcatenatedStorage([one, huge]) }
    #expect(throws: DiskError.self) { try ConcatenatedStorage([huge, huge]) }
    #expect(try ConcatenatedStorage([MemoryStorage([])]).size == 0)
  }
}
