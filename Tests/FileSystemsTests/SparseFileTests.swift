import DiskCore
import FileSystems
import TestSupport
import Testing

private typealias Builder = ISO9660Builder
private typealias Record = ISO9660Builder.Record

/// Rock Ridge's sparse files (RRIP 1.12, 4.1.7): tables at multiples of 2,048 bytes of the file, the first at
/// 2,048, data at multiples of 256.
@Suite(.timeLimit(.minutes(1))) struct SparseFileTests {
  private static let zero: UInt32 = 0x8000_0000
  private static let more: UInt32 = 0x4000_0000

  /// 256 entries, zeros but for those that are given.
  private static func table(_ entries: [Int: UInt32]) -> [UInt8] {
    (0..<256).flatMap { Builder.both(entries[$0] ?? zero) }
  }

  private static func entry(size: UInt64, depth: UInt8) -> [UInt8] {
    SystemUse.entry(
      "SF",
      Builder.both(UInt32(size >> 32)) + Builder.both(UInt32(truncatingIfNeeded: size)) + [depth])
  }

  /// A file `s` of `pieces` at bytes of what is stored.
  private func volume(_ entry: [UInt8], _ pieces: [Int: [UInt8]]) throws -> ISO9660Volume {
    var stored = ImageBytes(count: 2048)
    for (place, bytes) in pieces { stored.put(bytes, at: place) }
    var builder = Builder()
    builder.blocks = 256
    builder.folder(
      at: Builder.rootBlock, own: RockRidgeTests.own,
      [
        Record("S", block: 40, length: UInt32(stored.count)).with(
          SystemUse.name("s"), SystemUse.attributes(mode: 0o100644), entry)
      ])
    builder.put(stored.bytes, atBlock: 40)
    return try ISO9660Volume(builder.built())
  }

  private func window(_ volume: ISO9660Volume) throws -> Window {
    try volume.tree.content(of: try volume.item("s"))
  }

  private func holes(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

  /// One table: 256 bytes to an entry, 64 KiB in all.
  @Test func oneTable() throws {
    let data = ImageBytes.pattern(3 * 256, seed: 1)
    // Bytes 4096 to 4864 are units 16, 17 and 18; the file's last piece is 6 bytes.
    let volume = try volume(
      Self.entry(size: 4 * 256 + 6, depth: 1),
      [2048: Self.table([0: 17, 1: 18, 3: 16, 4: 16]), 4096: data])
    let attributes = try volume.attributes("s")
    #expect(attributes.size == 1030)
    #expect(attributes.allocatedBytes == 4096 + 768)
    #expect(
      try volume.bytes("s")
        == data[256..<768] + holes(256) + data[..<256] + data[..<6])
    #expect(try window(volume).nextHole(from: .start) == DiskOffset(512))
    #expect(try window(volume).nextData(from: DiskOffset(512)) == DiskOffset(768))
  }

  /// A table of tables, data beside them in pieces of 64 KiB, and a hole behind.
  @Test func tablesInTables() throws {
    let data = ImageBytes.pattern(65_536 + 256, seed: 2)
    let volume = try volume(
      Self.entry(size: 4 * 65_536, depth: 2),
      [
        2048: Self.table([1: Self.more | 2, 2: 24]),
        4096: Self.table([255: 24 + 256, 0: 25]),
        6144: data,
      ])
    let head = Array(data[256..<512])
    let tail = Array(data[65_536...])
    #expect(
      try volume.bytes("s")
        == holes(65_536) + head + holes(65_536 - 512) + tail + data[..<65_536] + holes(65_536))
  }

  /// Terabytes of nothing are nothing, and 1.10's field means three levels.
  @Test func holesThatAreLarge() throws {
    let end = Array("the end".utf8)
    let size: UInt64 = 1 << 50 + 7
    let huge = try volume(
      Self.entry(size: size, depth: 7),
      [
        2048: Self.table([0: Self.more | 2]), 4096: Self.table([4: Self.more | 3]),
        6144: Self.table([0: Self.more | 4]), 8192: Self.table([0: 40]), 10_240: end,
      ])
    let window = try window(huge)
    #expect(window.size == size)
    #expect(try window.nextData(from: .start) == DiskOffset(1 << 50))
    #expect(try window.bytes(at: DiskOffset(1 << 50), count: 7) == end)
    #expect(try window.bytes(at: DiskOffset(1 << 50 - 2), count: 3) == [0, 0] + end[..<1])
    let earlier = try volume(
      SystemUse.entry("SF", Builder.both(1 << 24 + 3 as UInt32)),
      [2048: Self.table([1: 16]), 4096: end])
    #expect(try earlier.attributes("s").size == 1 << 24 + 3)
    #expect(
      try self.window(earlier).bytes(at: DiskOffset(1 << 24 - 1), count: 4) == [0] + end[..<3])
    let most = try volume(
      Self.entry(size: 1 << 62, depth: 7), [2048: Self.table([:]), 4096: [0]])
    #expect(try self.window(most).nextData(from: .start) == nil)
  }

  /// Only what is damaged fails.
  @Test func whatCannotBe() throws {
    let volume = try volume(
      Self.entry(size: 6 * 65_536, depth: 2),
      [
        // A table that holds itself, one past the file's end, data past it, half and whole, and a table
        // where 256 bytes must be.
        2048: Self.table([
          0: Self.more | 1, 1: Self.more | 99, 2: 24, 3: 0xFF_FFFF, 4: Self.more | 2,
        ]),
        4096: Self.table([0: Self.more | 3, 1: 24]), 6144: ImageBytes.pattern(512, seed: 3),
      ])
    let window = try window(volume)
    func error(_ place: UInt64, _ count: Int = 1) -> String? {
      message { try window.bytes(at: DiskOffset(place), count: count) }
    }
    #expect(error(0)?.contains("table at its byte 2048 is for two parts") == true)
    #expect(error(65_536)?.contains("the volume ends before") == true)
    #expect(error(2 * 65_536, 512) == nil)
    #expect(error(2 * 65_536, 513)?.contains("at byte 6656 of 6656 stored") == true)
    #expect(error(3 * 65_536)?.contains("of 6656 stored") == true)
    #expect(error(4 * 65_536)?.contains("where stored bytes must be") == true)
    #expect(error(4 * 65_536 + 256, 256) == nil)
    #expect(error(5 * 65_536, 65_536) == nil)
  }

  @Test(arguments: [(0, 1), (8, 1), (255, 1), (1, 65_537), (6, 1 << 56 + 1)] as [(UInt8, UInt64)])
  func depthsThatCannotBe(_ depth: UInt8, _ size: UInt64) throws {
    let volume = try volume(Self.entry(size: size, depth: depth), [2048: Self.table([:])])
    #expect(try volume.attributes("s").size == size)
    #expect(message { try volume.bytes("s") }?.contains("tables of depth \(depth)") == true)
  }

  /// Seven tables of which every entry is the next one would be 2⁶² bytes of holes without end.
  @Test func tablesForMoreThanOnePart() throws {
    var pieces: [Int: [UInt8]] = [:]
    for level in 1...6 {
      let next = Self.more | UInt32(level + 1)
      pieces[2048 * level] = (0..<256).flatMap { _ in Builder.both(next) }
    }
    pieces[2048 * 7] = Self.table([:])
    let volume = try volume(Self.entry(size: 1 << 62, depth: 7), pieces)
    let window = try window(volume)
    // What is damaged counts as data.
    #expect(try window.nextData(from: .start) == DiskOffset(65_536))
    #expect(try window.nextHole(from: DiskOffset(65_536)) == DiskOffset(1 << 62))
    #expect(try window.bytes(at: .start, count: 65_536) == holes(65_536))
  }

  @Test func filesThatAreTooLarge() throws {
    let volume = try volume(Self.entry(size: 1 << 62 + 1, depth: 7), [:])
    #expect(try volume.names() == ["s"])
    #expect(message { try volume.attributes("s") }?.contains("a sparse file of") == true)
  }

  /// Whatever is in the tables, it ends, and what is not damaged is the same each time.
  @Test func tablesOfEveryKind() throws {
    var random = SeededRandom(seed: 11)
    for _ in 0..<Soak.rounds(60) {
      var pieces: [Int: [UInt8]] = [8 * 2048: ImageBytes.pattern(4096, seed: 4)]
      for index in 1...7 {
        pieces[2048 * index] = (0..<256).flatMap { _ -> [UInt8] in
          let kind = UInt32.random(in: 0...3, using: &random) << 30
          return Builder.both(kind | UInt32.random(in: 0..<80, using: &random))
        }
      }
      let depth = UInt8.random(in: 1...7, using: &random)
      let size = UInt64.random(
        in: 1...(depth == 7 ? 1 << 62 : 1 << (8 * UInt64(depth + 1))), using: &random)
      let volume = try volume(Self.entry(size: size, depth: depth), pieces)
      let window = try window(volume)
      for _ in 0..<20 {
        let place = UInt64.random(in: 0..<size, using: &random)
        let count = Int(min(size - place, 3000))
        let first = try? window.bytes(at: DiskOffset(place), count: count)
        #expect((try? window.bytes(at: DiskOffset(place), count: count)) == first)
      }
      _ = try window.nextHole(from: .start)
      _ = try window.nextData(from: .start)
    }
  }
}
