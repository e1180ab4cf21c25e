import DiskCore
import TestSupport
import Testing

@Suite struct WindowTests {
  private let content = ImageBytes.pattern(1000, seed: 3)

  private func disk() throws -> Disk { try Disk.holding(content) }

  @Test func windowsInWindows() throws {
    let outer = try disk().whole.window(at: DiskOffset(100), size: 500)
    let inner = try outer.window(at: DiskOffset(50), size: 10)
    #expect(inner.start.bytes == 150 && inner.size == 10)
    #expect(try inner.bytes(at: DiskOffset(1), count: 9) == Array(content[151..<160]))
    #expect(try outer.window(at: DiskOffset(500), size: 0).size == 0)
    #expect(try outer.window(at: .start, size: 500).start.bytes == 100)
  }

  @Test(
    arguments: [
      (0, 501), (500, 1), (501, 0), (499, 2), (1, .max), (.max, 1), (.max, .max), (.max, 0),
    ] as [(UInt64, UInt64)])
  func windowsThatDoNotFit(_ offset: UInt64, _ size: UInt64) throws {
    let outer = try disk().whole.window(at: DiskOffset(100), size: 500)
    let error = #expect(throws: DiskError.self) {
      try outer.window(at: DiskOffset(offset), size: size)
    }
    #expect(error?.kind == .invalidRequest)
  }

  @Test(arguments: [(500, 1), (499, 2), (501, 0), (0, 501), (.max, 1)] as [(UInt64, Int)])
  func readsDoNotReachTheDiskBehind(_ offset: UInt64, _ count: Int) throws {
    let window = try disk().whole.window(at: DiskOffset(100), size: 500)
    let error = #expect(throws: DiskError.self) {
      try window.bytes(at: DiskOffset(offset), count: count)
    }
    #expect(error?.kind == .invalidRequest && error?.offset == offset)
  }

  @Test func metadataIsBounded() throws {
    let window = try Disk.holding(size: 1 << 40, pieces: []).whole
    for count in [Limits.largestMetadataRead + 1, .max, -1] {
      let error = #expect(throws: DiskError.self) { try window.bytes(at: .start, count: count) }
      #expect(error?.kind == .malformed)
      let storage = MemoryStorage(size: 1 << 40, pieces: [])
      #expect(throws: DiskError.self) { try storage.bytes(at: .start, count: count) }
    }
  }

  @Test func readersNameTheirPlace() throws {
    let window = try disk().whole.window(at: DiskOffset(100), size: 500)
    let reader = try window.reader(at: DiskOffset(20), count: 4)
    #expect(reader.base == 20 && reader.path == nil)
    #expect(try reader.u8(at: 3) == content[123])
    let stored = try MemoryStorage(content, path: "a.img").reader(at: FileOffset(5), count: 2)
    #expect(stored.base == 5 && stored.path == "a.img")
  }

  @Test func mapsAreFromTheWindowsStart() throws {
    let disk = try Disk.holding(size: 1 << 20, pieces: [(4096, [1, 2, 3]), (8192, [4])])
    let window = try disk.whole.window(at: DiskOffset(4000), size: 4200)
    #expect(try window.nextData(from: .start)?.bytes == 96)
    #expect(try window.nextHole(from: DiskOffset(96)).bytes == 99)
    #expect(try window.nextData(from: DiskOffset(99))?.bytes == 4192)
    #expect(try window.nextData(from: DiskOffset(4193)) == nil)
    #expect(try window.nextHole(from: DiskOffset(4200)).bytes == 4200)
    #expect(window.allocatedBytes() == 4)
    let empty = try disk.whole.window(at: DiskOffset(4096), size: 0)
    #expect(try empty.nextData(from: .start) == nil && empty.allocatedBytes() == 0)
  }

  /// `st_blocks` of an image with a large table costs no table reads and stays below the size.
  @Test func largeTablesAreNotCounted() throws {
    let storage = MemoryStorage(size: 1 << 30, pieces: [(0, [1, 2, 3])])
    let layer = ScriptedLayer(
      [.init(.stored(storage, at: .start), 1 << 30)],
      tableBytes: Limits.exactlyCountedTables + 1)
    let window = try Disk(layers: [layer]).whole
    #expect(window.allocatedBytes() == 3)
    #expect(layer.questions == 0)
    let full = ScriptedLayer(
      [.init(.stored(MemoryStorage([UInt8](repeating: 1, count: 4096)), at: .start), 4096)],
      tableBytes: Limits.exactlyCountedTables + 1)
    #expect(try Disk(layers: [full]).whole.allocatedBytes() == 4096 - 512)
  }

  @Test func aTableThatCannotBeReadStillHasABound() throws {
    let broken = ScriptedLayer(
      [.init(.stored(MemoryStorage([1, 2, 3]), at: .start), 3)], size: 10_000)
    #expect(try Disk(layers: [broken]).whole.allocatedBytes() == 3)
  }
}
