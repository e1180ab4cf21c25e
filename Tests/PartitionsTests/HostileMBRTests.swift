import DiskCore
import Partitions
import TestSupport
import Testing

private typealias Entry = MBRBuilder.Entry

/// Reads the table and fails where that takes a second or more.
func readQuickly(_ disk: Disk, sectorSize: UInt64? = nil) throws -> PartitionTable {
  let clock = ThreadClock()
  let start = clock.now
  let table = try PartitionTable.read(from: disk.whole, sectorSize: sectorSize)
  #expect(start.duration(to: clock.now) < .seconds(1))
  for partition in table.partitions {
    #expect(partition.size > 0)
    #expect(partition.start.bytes < disk.size)
    #expect(partition.size <= disk.size - partition.start.bytes)
  }
  return table
}

/// The MBR row of shared/HOSTILE.md.
@Suite struct HostileMBRTests {
  /// An extended partition from sector 63 on, whose first boot record has one partition and a link
  /// to sector 63 + `link`.
  private func chain(link: UInt32, container: UInt32 = 63) -> MBRBuilder {
    var builder = MBRBuilder()
    builder.record([0: Entry(0x05, start: container, sectors: 100_000)])
    builder.record(
      at: UInt64(container),
      [0: Entry(0x83, start: 63, sectors: 10), 1: Entry(0x05, start: link, sectors: 1000)])
    return builder
  }

  private func read(_ builder: MBRBuilder) throws -> PartitionTable {
    try readQuickly(Disk.holding(size: 64 << 20, pieces: builder.pieces))
  }

  @Test func bootRecordThatNamesItself() throws {
    let table = try read(chain(link: 0))
    #expect(table.partitions.map(\.number) == [1, 5])
    #expect(
      table.notes == ["the chain of logical partitions ends early: it comes back to sector 63"])
  }

  @Test func bootRecordThatNamesSectorZero() throws {
    // 63 + (2³² − 63) is sector 0 only where sums wrap; with 64 bits it is past the end.
    let wrapped = try read(chain(link: 0 &- 63))
    #expect(wrapped.partitions.map(\.number) == [1, 5])
    #expect(wrapped.notes.count == 1)
    // An extended partition that starts at sector 0 is its own first boot record.
    var builder = MBRBuilder()
    builder.record([
      0: Entry(0x05, start: 0, sectors: 100_000), 1: Entry(0x83, start: 100, sectors: 10),
    ])
    let zero = try read(builder)
    #expect(zero.partitions.map(\.number) == [1, 2])
    #expect(zero.notes == ["the chain of logical partitions ends early: it comes back to sector 0"])
  }

  @Test func bootRecordThatNamesAnEarlierOne() throws {
    var builder = chain(link: 1000)
    builder.record(
      at: 1063, [0: Entry(0x83, start: 1, sectors: 10), 1: Entry(0x05, start: 2000, sectors: 1000)])
    builder.record(
      at: 2063, [0: Entry(0x83, start: 1, sectors: 10), 1: Entry(0x05, start: 1000, sectors: 1000)])
    let table = try read(builder)
    #expect(table.partitions.map(\.number) == [1, 5, 6, 7])
    #expect(table.notes.count == 1)
  }

  @Test func twoExtendedPartitionsOverOneChain() throws {
    var builder = MBRBuilder()
    let container = Entry(0x05, start: 63, sectors: 1000)
    builder.record([0: container, 1: container])
    builder.record(at: 63, [0: Entry(0x83, start: 1, sectors: 10)])
    let table = try read(builder)
    #expect(table.partitions.map(\.number) == [1, 2, 5])
  }

  @Test func sixtyThousandBootRecords() throws {
    let count: UInt64 = 60_000
    var image = ImageBytes(count: Int(2 * count + 2) * 512)
    image.put(
      MBRBuilder.sector([0: Entry(0x05, start: 1, sectors: UInt32(2 * count))]), at: 0)
    for index in 0..<count {
      let place = 1 + 2 * index
      image.put(
        MBRBuilder.sector([
          0: Entry(0x83, start: 1, sectors: 1),
          1: Entry(0x05, start: UInt32(place + 1), sectors: 2),
        ]), at: Int(place) * 512)
    }
    let table = try readQuickly(Disk.holding(image.bytes))
    let numbers = [1] + Array(5...255)
    #expect(table.partitions.map(\.number) == numbers)
    #expect(table.notes == ["partitions past number 255 are left out, as Linux does"])
  }

  @Test func sixtyThousandEmptyBootRecords() throws {
    let count: UInt64 = 60_000
    var image = ImageBytes(count: Int(count + 2) * 512)
    image.put(MBRBuilder.sector([0: Entry(0x05, start: 1, sectors: UInt32(count))]), at: 0)
    for index in 0..<count {
      image.put(
        MBRBuilder.sector([1: Entry(0x05, start: UInt32(index + 1), sectors: 2)]),
        at: Int(1 + index) * 512)
    }
    let table = try readQuickly(Disk.holding(image.bytes))
    #expect(table.partitions.map(\.number) == [1])
    #expect(table.notes.count == 1 && table.notes[0].contains("100 records in a row"))
  }

  @Test func rubbishInTheLastTwoSlotsIsIgnored() throws {
    var builder = chain(link: 2000)
    builder.record(
      at: 2063,
      [
        0: Entry(0x83, start: 1, sectors: 10), 2: Entry(0x83, start: 5000, sectors: 10),
        3: Entry(0x83, start: 0xFFFF_FFFF, sectors: 0xFFFF_FFFF),
      ])
    #expect(try read(builder).partitions.map(\.number) == [1, 5, 6])
  }

  @Test func unreadableFirstSectorsAreSaid() throws {
    let disk = try Disk(layers: [BrokenLayer(size: 1 << 20)])
    let table = try PartitionTable.read(from: disk.whole)
    #expect(table.kind == .none)
    #expect(table.notes.count == 1 && table.notes[0].contains("scratched"))
  }

  @Test(arguments: 0..<8) func fuzzedSectorsNeverTrap(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    for _ in 0..<Soak.rounds(200) {
      var image = ImageBytes(ImageBytes.pattern(64 * 512, seed: random.next()))
      for sector in 0..<64 {
        for slot in 0..<4 {
          let place = sector * 512 + 446 + 16 * slot
          image.put([0], at: place)
          if Bool.random(using: &random) {
            image.put([[0x05, 0x0F, 0x85, 0x83].randomElement(using: &random) ?? 0], at: place + 4)
            image.putLittle(UInt32.random(in: 0..<80, using: &random), at: place + 8)
            image.putLittle(UInt32.random(in: 0..<80, using: &random), at: place + 12)
          }
        }
        image.put([0x55, 0xAA], at: sector * 512 + 510)
      }
      _ = try readQuickly(Disk.holding(image.bytes))
    }
  }
}

/// A disk of which nothing can be read.
private final class BrokenLayer: ImageLayer {
  let size: UInt64
  init(size: UInt64) { self.size = size }
  var tableBytes: UInt64 { 0 }
  var files: [any Storage] { [] }
  var description: LayerDescription { LayerDescription(format: "broken") }
  func extent(at offset: DiskOffset, limit: UInt64) throws(DiskError) -> Extent {
    Extent(.unreadable(DiskError(.inputOutput, "scratched")), length: size - offset.bytes)
  }
}
