import DiskCore
import Partitions
import TestSupport
import Testing

private typealias Entry = GPTBuilder.Entry

@Suite struct GPTTests {
  @Test(arguments: [512, 4096]) func partitionsAreReadAsStored(_ sectorSize: Int) throws {
    let builder = GPTBuilder(sectorSize: sectorSize, entries: twoPartitions)
    let table = try read(builder)
    #expect(table.kind == .gpt && table.notes.isEmpty)
    #expect(table.sectorSize == UInt64(sectorSize))
    #expect(table.identifier == GPTBuilder.diskGUID)
    #expect(table.partitions.map(\.number) == [1, 5])
    let unit = UInt64(sectorSize)
    #expect(table.partitions.map { $0.start.bytes / unit } == [40, 200])
    #expect(table.partitions.map { $0.size / unit } == [60, 100])
    #expect(table.partitions.map(\.name) == ["boot", "größe 🐧"])
    #expect(table.partitions.map(\.isBootable) == [true, false])
    #expect(table.partitions[0].type == "0fc63daf-8483-4772-8e79-3d69d8477de4")
    #expect(table.partitions[0].typeName == "Linux file system")
    #expect(table.partitions[0].uuid == "abababab-abab-abab-abab-abababababab")
  }

  @Test func forcedSectorSizesAreKept() throws {
    let builder = GPTBuilder(sectorSize: 4096, entries: twoPartitions)
    #expect(try read(builder, sectorSize: 4096).kind == .gpt)
    let wrong = try read(builder, sectorSize: 512)
    #expect(wrong.kind == .none && wrong.notes.count == 2)
    for size in [1024, 2048] {
      let other = GPTBuilder(sectorSize: size, entries: twoPartitions)
      #expect(try read(other, sectorSize: UInt64(size)).partitions.count == 2)
    }
  }

  @Test(arguments: [512, 4096]) func theBackupStandsInForADamagedPrimary(
    _ sectorSize: Int
  ) throws {
    var builder = GPTBuilder(sectorSize: sectorSize, entries: twoPartitions)
    builder.damagePrimary = { $0.put([0xFF], at: 60) }
    let checksum = try read(builder)
    #expect(checksum.partitions.map(\.number) == [1, 5])
    #expect(checksum.sectorSize == UInt64(sectorSize))
    #expect(
      checksum.notes == [
        "the primary GPT header is bad, its checksum is wrong; its backup in sector 4095 is used"
      ])
    builder.damagePrimary = { $0 = ImageBytes(count: sectorSize) }
    let missing = try read(builder)
    #expect(missing.partitions.map(\.number) == [1, 5])
    #expect(missing.notes.count == 1 && missing.notes[0].contains("no GPT signature"))
  }

  @Test func damagedEntriesAreTakenFromTheBackup() throws {
    let builder = GPTBuilder(entries: twoPartitions)
    var pieces = builder.pieces
    // Of the first array only: the piece at sector 2.
    for index in pieces.indices where pieces[index].at == 1024 { pieces[index].bytes[5] ^= 1 }
    let table = try readQuickly(Disk.holding(size: builder.size, pieces: pieces))
    #expect(table.partitions.map(\.number) == [1, 5])
    #expect(table.notes.count == 1 && table.notes[0].contains("checksum of its entries"))
  }

  @Test func theBackupIsFoundWhereTheDiskWasEnlarged() throws {
    var builder = GPTBuilder(entries: twoPartitions)
    builder.damagePrimary = { $0.put([0xFF], at: 60) }
    let table = try readQuickly(
      Disk.holding(size: builder.size * 2, pieces: builder.pieces))
    #expect(table.partitions.map(\.number) == [1, 5])
    builder.damagePrimary = { _ in }
    let sound = try readQuickly(Disk.holding(size: builder.size * 2, pieces: builder.pieces))
    #expect(sound.notes.count == 1 && sound.notes[0].contains("the disk was made larger"))
  }

  @Test func aDisagreeingBackupIsSaid() throws {
    var builder = GPTBuilder(entries: twoPartitions)
    builder.editBackup = { $0.put([0xEE], at: 56) }
    #expect(
      try read(builder).notes == [
        "the backup GPT header disagrees about the disk's GUID; the primary is used"
      ])
    builder.editBackup = { $0.putLittle(0 as UInt32, at: 88) }
    #expect(
      try read(builder).notes == [
        "the backup GPT header disagrees about the partitions; the primary is used"
      ])
    builder.editBackup = { _ in }
    builder.damageBackup = { $0.put([0xEE], at: 56) }
    #expect(
      try read(builder).notes == [
        "the backup GPT header in sector 4095 is damaged: its checksum is wrong"
      ])
  }

  @Test func withoutProtectiveMBRItIsNotUsed() throws {
    var builder = GPTBuilder(entries: twoPartitions)
    builder.hasProtectiveMBR = false
    let table = try read(builder)
    #expect(table.kind == .none && table.partitions.isEmpty)
    #expect(table.notes.count == 1 && table.notes[0].contains("type ee"))
  }

  @Test func hybridMBRsGiveWayToTheGPT() throws {
    var builder = GPTBuilder(entries: twoPartitions)
    builder.hybrid = [1: MBRBuilder.Entry(0x0C, start: 40, sectors: 60, bootIndicator: 0x80)]
    let table = try read(builder)
    #expect(table.kind == .gpt && table.partitions.map(\.number) == [1, 5])
    #expect(table.notes.count == 1 && table.notes[0].contains("hybrid MBR"))
  }

  @Test func aDiskCutShortShowsWhatIsLeft() throws {
    let builder = GPTBuilder(entries: twoPartitions)
    let table = try readQuickly(
      Disk.holding(
        size: 250 * 512, pieces: builder.pieces.filter { $0.at < 200 * 512 }))
    #expect(table.partitions.map { $0.size / 512 } == [60, 50])
    #expect(table.notes.contains { $0.contains("the disk is cut short") })
    #expect(table.notes.contains { $0.contains("partition 5 is shortened") })
  }

  @Test func entriesOfOtherSizes() throws {
    for size in [128, 256, 512, 4096] as [UInt32] {
      var builder = GPTBuilder(sectorCount: 8192, entries: twoPartitions)
      builder.entryCount = 16
      builder.entrySize = size
      builder.entries[4]?.first = 1000
      builder.entries[4]?.last = 1999
      builder.entries[0] = Entry(first: 200, last: 299)
      #expect(try read(builder).partitions.map { $0.start.bytes / 512 } == [200, 1000])
    }
  }
}
