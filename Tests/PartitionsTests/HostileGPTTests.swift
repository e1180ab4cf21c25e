import DiskCore
import Partitions
import TestSupport
import Testing

private typealias Entry = GPTBuilder.Entry

/// The GPT rows of shared/HOSTILE.md.
@Suite struct HostileGPTTests {
  private func withHeaders(_ edit: @escaping GPTBuilder.Edit) throws -> PartitionTable {
    var builder = GPTBuilder(entries: twoPartitions)
    builder.editPrimary = edit
    builder.editBackup = edit
    return try read(builder)
  }

  @Test func bothChecksumsWrong() throws {
    var builder = GPTBuilder(entries: twoPartitions)
    builder.damagePrimary = { $0.put([0xFF], at: 60) }
    builder.damageBackup = { $0.put([0xFF], at: 60) }
    let table = try read(builder)
    #expect(table.kind == .none && table.partitions.isEmpty)
    #expect(
      table.notes == [
        "the MBR says that there is a GPT, but no header is good",
        "the primary GPT header (512-byte sectors) is bad: its checksum is wrong",
        "its backup in sector 4095 is bad: its checksum is wrong",
      ])
  }

  @Test func noHeaderAtAll() throws {
    let disk = try Disk.holding(
      size: 1 << 20,
      pieces: [(0, MBRBuilder.sector([0: MBRBuilder.Entry(0xEE, start: 1, sectors: 2047)]))])
    let table = try readQuickly(disk)
    #expect(table.kind == .none && table.notes.count == 2)
  }

  @Test(arguments: [0, 1, .max, 0x8000_0000, 8193] as [UInt32]) func entryCounts(
    _ count: UInt32
  ) throws {
    let table = try withHeaders { $0.putLittle(count, at: 80) }
    #expect(table.kind == .none && table.partitions.isEmpty)
  }

  @Test(arguments: [0, 4, 8, 127, 129, 192, 8192, 0x8000_0000, .max] as [UInt32])
  func entrySizes(_ size: UInt32) throws {
    let table = try withHeaders { $0.putLittle(size, at: 84) }
    #expect(table.kind == .none && table.partitions.isEmpty)
  }

  @Test(arguments: [0, 91, 513, 0x8000_0000, .max] as [UInt32]) func headerSizes(
    _ size: UInt32
  ) throws {
    let table = try withHeaders { $0.putLittle(size, at: 12) }
    #expect(
      table.kind == .none && table.notes.contains { $0.contains("its size of \(size) bytes") })
  }

  @Test(arguments: [0, 1, 4096, 1 << 55, 1 << 63, .max] as [UInt64]) func fieldsOfSectors(
    _ value: UInt64
  ) throws {
    for place in [24, 32, 40, 48, 72] { _ = try withHeaders { $0.putLittle(value, at: place) } }
  }

  @Test func entriesThatCannotBe() throws {
    let builder = GPTBuilder(entries: [
      0: Entry(first: 34, last: .max), 1: Entry(first: 0, last: .max),
      2: Entry(first: 500, last: 400), 3: Entry(first: .max, last: 0),
      4: Entry(first: .max, last: .max), 5: Entry(first: 5000, last: 6000),
      6: Entry(first: 4000, last: 4096), 7: Entry(first: 100, last: 100),
      // Outside the usable sectors, but on the disk: kept, as Linux does.
      8: Entry(first: 10, last: 20),
    ])
    let table = try read(builder)
    #expect(table.kind == .gpt && table.partitions.map(\.number) == [8, 9])
    #expect(table.notes.filter { $0.contains("is left out") }.count == 7)
    #expect(
      table.notes.contains { $0.contains("partition 3 is left out: it ends before it starts") })
    #expect(table.notes.contains { $0.contains("partition 9 lies outside the usable sectors") })
  }

  @Test func entriesThatCannotBeOnADiskThatClaimsAllSectors() throws {
    var builder = GPTBuilder(entries: [
      0: Entry(first: 34, last: .max), 1: Entry(first: 0, last: .max),
    ])
    builder.editPrimary = { $0.putLittle(UInt64.max, at: 48) }
    let table = try read(builder)
    #expect(table.partitions.map { $0.size / 512 } == [4062, 4096])
  }

  @Test func overlapsAreKeptAndSaid() throws {
    let builder = GPTBuilder(entries: [
      0: Entry(first: 100, last: 199), 1: Entry(first: 150, last: 160),
      2: Entry(first: 199, last: 299), 3: Entry(first: 300, last: 400),
    ])
    let table = try read(builder)
    #expect(table.partitions.count == 4)
    #expect(table.notes == ["partitions 1 and 2 overlap", "partitions 1 and 3 overlap"])
  }

  @Test func manyEntries() throws {
    // 8,192 entries, all of them over each other: the most that is read.
    var builder = GPTBuilder(sectorCount: 40_000)
    builder.entryCount = 8192
    builder.editEntries = { array in
      for index in 0..<8192 {
        array.put(GPTBuilder.linuxType, at: index * 128)
        array.putLittle(20_000 as UInt64, at: index * 128 + 32)
        array.putLittle(20_001 as UInt64, at: index * 128 + 40)
      }
    }
    let disk = try Disk.holding(size: builder.size, pieces: builder.pieces)
    let table = try readQuickly(disk)
    #expect(table.partitions.count == 1024)
    #expect(table.notes.count == 17)
  }

  @Test func names() throws {
    let builder = GPTBuilder(entries: [
      0: Entry(first: 40, last: 41, name: Array("../../etc/x".utf16)),
      1: Entry(first: 42, last: 43, name: Array("a/b".utf16)),
      2: Entry(first: 44, last: 45, name: Array("a/b".utf16)),
      3: Entry(first: 46, last: 47, name: Array("line\n\u{1B}[2J".utf16)),
      4: Entry(first: 48, last: 49, name: [0x61, 0xD800, 0x62]),
      5: Entry(first: 50, last: 51, name: [0xDC00]),
      6: Entry(first: 52, last: 53, name: [UInt16](repeating: 0x0301, count: 36)),
      7: Entry(first: 54, last: 55, name: [0, 0x61]),
    ])
    let names = try read(builder).partitions.map(\.name)
    #expect(
      names == [
        "../../etc/x", "a/b", "a/b", "line\n\u{1B}[2J", "a\u{FFFD}b", "\u{FFFD}",
        String(repeating: "\u{301}", count: 36), nil,
      ])
  }

  /// Every byte of the table may be anything.
  @Test func fuzzedTablesNeverTrap() throws {
    var random = SeededRandom(seed: 2)
    for _ in 0..<Soak.rounds(1500) {
      var builder = GPTBuilder(sectorCount: 512, entries: twoPartitions)
      builder.entryCount = 8
      let seeds = (random.next(), random.next())
      let resealed = Bool.random(using: &random)
      let flip: @Sendable (UInt64, Int) -> GPTBuilder.Edit = { seed, limit in
        { bytes in
          var random = SeededRandom(seed: seed)
          for _ in 0..<4 {
            bytes.put(
              [UInt8.random(in: 0...255, using: &random)],
              at: Int.random(in: 0..<limit, using: &random))
          }
        }
      }
      builder.editEntries = flip(seeds.0, 1024)
      if resealed {
        builder.editPrimary = flip(seeds.1, 92)
        builder.editBackup = flip(seeds.0, 92)
      } else {
        builder.damagePrimary = flip(seeds.1, 92)
      }
      _ = try read(builder)
    }
  }
}
