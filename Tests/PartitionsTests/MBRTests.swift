import DiskCore
import Partitions
import TestSupport
import Testing

private typealias Entry = MBRBuilder.Entry

private let mebibyte: UInt64 = 1 << 20

private func read(
  _ builder: MBRBuilder, size: UInt64 = 64 * mebibyte, sectorSize: UInt64? = nil
) throws -> PartitionTable {
  try PartitionTable.read(
    from: Disk.holding(size: size, pieces: builder.pieces).whole, sectorSize: sectorSize)
}

@Suite struct MBRTests {
  @Test func primariesKeepTheirGaps() throws {
    var builder = MBRBuilder()
    builder.record(
      signature: 0xDEAD_BEEF,
      [
        0: Entry(0x0C, start: 2048, sectors: 4096, bootIndicator: 0x80),
        2: Entry(0x83, start: 8192, sectors: 2048),
      ])
    let table = try read(builder)
    #expect(table.kind == .mbr)
    #expect(table.sectorSize == 512)
    #expect(table.identifier == "deadbeef")
    #expect(table.notes.isEmpty)
    #expect(table.partitions.map(\.number) == [1, 3])
    let first = try table.partition(1)
    #expect(first.start.bytes == mebibyte && first.size == 2 * mebibyte)
    #expect(first.type == "0c" && first.typeName == "FAT32 (LBA)")
    #expect(first.uuid == "deadbeef-01" && first.isBootable)
    let third = try table.partition(3)
    #expect(third.uuid == "deadbeef-03" && !third.isBootable && third.name == nil)
  }

  @Test func logicalsAreNumberedInChainOrder() throws {
    var builder = MBRBuilder()
    builder.record(
      signature: 0x1234,
      [
        0: Entry(0x83, start: 2048, sectors: 2048),
        1: Entry(0x0F, start: 4096, sectors: 40960),
      ])
    // The chain goes to the middle first, then back: its order counts, not the disk's.
    builder.record(
      at: 4096,
      [0: Entry(0x83, start: 64, sectors: 100), 1: Entry(0x05, start: 20480, sectors: 4096)])
    builder.record(
      at: 4096 + 20480,
      [0: Entry(0x82, start: 64, sectors: 200), 1: Entry(0x05, start: 8192, sectors: 4096)])
    builder.record(at: 4096 + 8192, [0: Entry(0x8E, start: 64, sectors: 300)])
    let table = try read(builder)
    #expect(table.partitions.map(\.number) == [1, 2, 5, 6, 7])
    #expect(table.notes.isEmpty)
    let container = try table.partition(2)
    #expect(container.typeName == "Extended" && container.size == 40960 * 512)
    let logicals = Array(table.partitions.suffix(3))
    #expect(logicals.map { $0.start.bytes / 512 } == [4160, 24640, 12352])
    #expect(logicals.map { $0.size / 512 } == [100, 200, 300])
    #expect(table.partitions.last?.uuid == "00001234-07")
  }

  @Test func endsPastTheDiskAreShortenedAndStartsPastItLeftOut() throws {
    var builder = MBRBuilder()
    builder.record([
      0: Entry(0x83, start: 2048, sectors: 0xFFFF_FFFF),
      1: Entry(0x83, start: 0xFFFF_F000, sectors: 0xFFFF_F000),
      2: Entry(0x83, start: 131_072, sectors: 1),
    ])
    let table = try read(builder)
    #expect(table.partitions.map(\.number) == [1])
    #expect(table.partitions[0].size == 63 * mebibyte)
    #expect(table.notes.count == 3)
    #expect(table.notes[0].contains("partition 1 is shortened: its last sector is 4294969342"))
    #expect(table.notes[1].contains("partition 2 is left out: it starts at sector 4294963200"))
    #expect(table.identifier == nil && table.partitions[0].uuid == nil)
  }

  @Test func logicalsThatLieOutsideKeepTheirNumber() throws {
    var builder = MBRBuilder()
    builder.record([0: Entry(0x05, start: 2048, sectors: 40960)])
    builder.record(
      at: 2048,
      [0: Entry(0x83, start: 0xFFFF_FF00, sectors: 16), 1: Entry(0x05, start: 64, sectors: 64)])
    builder.record(at: 2048 + 64, [0: Entry(0x83, start: 8, sectors: 16)])
    let table = try read(builder)
    #expect(table.partitions.map(\.number) == [1, 6])
  }

  @Test func unknownNumbersAreRefusedWithTheKnownOnes() throws {
    var builder = MBRBuilder()
    builder.record([
      0: Entry(0x83, start: 2048, sectors: 16), 1: Entry(0x05, start: 4096, sectors: 64),
    ])
    builder.record(at: 4096, [0: Entry(0x83, start: 8, sectors: 16)])
    let table = try read(builder)
    func complaint(_ table: PartitionTable) -> String {
      do throws(DiskError) {
        _ = try table.partition(3)
        return ""
      } catch { return error.message }
    }
    #expect(complaint(table) == "there is no partition 3; there are 1, 2 and 5")
    var single = table
    single.partitions = [table.partitions[0]]
    #expect(complaint(single) == "there is no partition 3; there is only 1")
    #expect(
      complaint(PartitionTable(kind: .none))
        == "there is no partition 3; the disk has no partition table")
    #expect(
      complaint(PartitionTable(kind: .mbr))
        == "there is no partition 3; the partition table is empty")
  }

  @Test func onlySectorSizesThatExistAreAccepted() throws {
    var builder = MBRBuilder(sectorSize: 2048)
    builder.record([0: Entry(0x83, start: 16, sectors: 16)])
    for size in [0, 1, 511, 513, 8192, .max] as [UInt64] {
      #expect(throws: DiskError.self) { try read(builder, sectorSize: size) }
    }
    for size in [512, 1024, 2048, 4096] as [UInt64] {
      let table = try read(builder, sectorSize: size)
      #expect(table.sectorSize == size && table.partitions[0].start.bytes == 16 * size)
    }
  }

  @Test func sectorsOf4096BytesAreFoundByWhatThePartitionsHold() throws {
    // Swap space, two pages in from the partition's start.
    var swap = ImageBytes(count: 8192)
    swap.putLittle(1 as UInt32, at: 1024)
    swap.putLittle(9 as UInt32, at: 1028)
    swap.put("SWAPSPACE2", at: 4086)
    var builder = MBRBuilder(sectorSize: 4096)
    builder.record([0: Entry(0x82, start: 256, sectors: 512)])
    builder.put(swap.bytes, atSector: 256)
    #expect(try read(builder).sectorSize == 4096)
    #expect(try read(builder).partitions[0].start.bytes == mebibyte)
    #expect(try read(builder, sectorSize: 512).sectorSize == 512)

    var chain = MBRBuilder(sectorSize: 4096)
    chain.record([0: Entry(0x05, start: 256, sectors: 512)])
    chain.record(at: 256, [0: Entry(0x83, start: 8, sectors: 16)])
    #expect(try read(chain).sectorSize == 4096)
    #expect(try read(chain).partition(5).start.bytes == 264 * 4096)

    // Nothing to go by: the common size.
    var plain = MBRBuilder()
    plain.record([0: Entry(0x83, start: 256, sectors: 512)])
    #expect(try read(plain).sectorSize == 512)
  }

  @Test func fourKChainsCountInFourK() throws {
    var builder = MBRBuilder(sectorSize: 4096)
    builder.record([3: Entry(0x85, start: 512, sectors: 8192)])
    builder.record(
      at: 512,
      [0: Entry(0x83, start: 1, sectors: 10), 1: Entry(0x85, start: 100, sectors: 50)])
    builder.record(at: 612, [0: Entry(0x83, start: 2, sectors: 20)])
    let table = try read(builder, sectorSize: 4096)
    #expect(table.partitions.map(\.number) == [4, 5, 6])
    #expect(table.partitions[1].start.bytes == 513 * 4096)
    #expect(table.partitions[2].start.bytes == 614 * 4096)
    #expect(table.partitions[2].size == 20 * 4096)
  }
}

@Suite struct NoTableTests {
  private func kind(_ bytes: [UInt8]) throws -> PartitionTable.Kind {
    try PartitionTable.read(from: Disk.holding(bytes).whole).kind
  }

  @Test func disksWithoutATableAreOneFile() throws {
    #expect(try kind([]) == .none)
    #expect(try kind([1]) == .none)
    #expect(try kind([UInt8](repeating: 0, count: 511)) == .none)
    #expect(try kind([UInt8](repeating: 0, count: 4096)) == .none)
    #expect(try kind(ImageBytes.pattern(65536, seed: 7)) == .none)
    // A boot sector without anything else in it.
    #expect(try kind(MBRBuilder.sector([:]) + [UInt8](repeating: 0, count: 4096)) == .none)
    // A signature makes it an empty table.
    #expect(
      try kind(MBRBuilder.sector(signature: 1, [:]) + [UInt8](repeating: 0, count: 4096)) == .mbr)
  }

  @Test func bootIndicatorsThatAreCodeMakeItNone() throws {
    let sector = MBRBuilder.sector(
      [
        0: Entry(0x83, start: 1, sectors: 4),
        1: Entry(0x83, start: 1, sectors: 4, bootIndicator: 0x33),
      ])
    #expect(try kind(sector + [UInt8](repeating: 0, count: 8192)) == .none)
  }

  @Test func aixDisksHaveNoTable() throws {
    var sector = ImageBytes(MBRBuilder.sector([0: Entry(0x41, start: 1, sectors: 4)]))
    sector.put([0xC9, 0xC2, 0xD4, 0xC1], at: 0)
    #expect(try kind(sector.bytes + [UInt8](repeating: 0, count: 8192)) == .none)
    sector.put([0x83], at: 450)
    #expect(try kind(sector.bytes + [UInt8](repeating: 0, count: 8192)) == .mbr)
  }

  @Test func bootSectorsOfFileSystemsAreNoTable() throws {
    for fileSystem in [FileSystemBuilders.fat12(), FileSystemBuilders.ntfs()] {
      var image = ImageBytes(fileSystem)
      #expect(try kind(image.bytes) == .none)
      // What could be an entry there is said to be ignored.
      image.putLittle(1 as UInt32, at: 446 + 8)
      image.putLittle(100 as UInt32, at: 446 + 12)
      image.put([0x55, 0xAA], at: 510)
      let table = try PartitionTable.read(from: Disk.holding(image.bytes).whole)
      #expect(table.kind == .none)
      #expect(table.notes.count == 1)
    }
  }

  /// An ISO image that also boots from a USB stick: the whole image is partition 1, the boot files
  /// of EFI partition 2, inside it.
  @Test func isohybridImagesKeepTheirOverlappingPartitions() throws {
    for type in [0x17, 0xCD, 0x83, 0x00] as [UInt8] {
      var builder = MBRBuilder()
      builder.record(
        signature: 0x42,
        [
          0: Entry(type, start: 0, sectors: 8192, bootIndicator: 0x80),
          1: Entry(0xEF, start: 200, sectors: 2880),
        ])
      builder.put(FileSystemBuilders.isoDescriptors(label: "ISO"), atSector: 64)
      let table = try read(builder, size: 4 * mebibyte)
      #expect(table.kind == .mbr && table.notes.isEmpty)
      #expect(table.partitions.map { $0.start.bytes / 512 } == [0, 200])
      #expect(table.partitions.map { $0.size / 512 } == [8192, 2880])
    }
  }
}
