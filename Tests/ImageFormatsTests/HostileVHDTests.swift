import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The VHD row of shared/HOSTILE.md. `OpenedImage` checks the second, the little that is read and
/// the file's name in each error.
@Suite struct HostileVHDTests {
  private func dynamic(size: UInt64 = 40_960) -> VHDBuilder {
    var builder = VHDBuilder(.dynamic, size: size)
    builder.blockSize = 4096
    builder.blocks = [0: ImageBytes.pattern(4096, seed: 1), 3: ImageBytes.pattern(4096, seed: 3)]
    return builder
  }

  private func refusal(_ builder: VHDBuilder) throws -> DiskError {
    let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
    let found = try #require(error)
    #expect(found.offset != nil)
    return found
  }

  /// 2³² − 1 entries that the disk does not need are not looked at.
  @Test func tableEntriesThatAreNotNeeded() throws {
    var builder = dynamic()
    builder.tableEntries = .max
    let image = try OpenedImage(builder)
    #expect(try image.all == builder.content(0..<40_960))
    #expect(image.disk.layers[0].tableBytes == 40)
  }

  @Test func tableEntriesThatAreNotThere() throws {
    var builder = dynamic()
    builder.editFooter = { $0.putBig(UInt64(UInt32.max) << 12, at: 48) }
    builder.editHeader = { $0.putBig(UInt32.max, at: 28) }
    let error = try refusal(builder)
    #expect(error.kind == .truncated && error.offset == UInt64(VHDBuilder.tableOffset))
    #expect(
      error.message == "a table of 4294967295 entries reaches past the end of the file")
  }

  @Test(arguments: [0, 1, 3, 256, 511, 513, 3 << 20, 1 << 29, 1 << 31, .max] as [UInt32])
  func blockSizes(_ size: UInt32) throws {
    var builder = dynamic()
    builder.editHeader = { $0.putBig(size, at: 32) }
    let error = try refusal(builder)
    #expect(error.kind == .malformed && error.offset == UInt64(VHDBuilder.headerOffset + 32))
    #expect(error.message.contains("a block size of \(size) bytes"))
  }

  @Test func sizeOfATebibyteWithOneEntry() throws {
    var builder = dynamic()
    builder.editFooter = { $0.putBig(1 << 40 as UInt64, at: 48) }
    builder.editHeader = { $0.putBig(1 as UInt32, at: 28) }
    let error = try refusal(builder)
    #expect(error.kind == .malformed && error.offset == UInt64(VHDBuilder.headerOffset))
    #expect(error.message.contains("needs 268435456 blocks, but the block table has 1"))
  }

  @Test(arguments: [1 << 62 + 1, 1 << 63, .max, .max - 511] as [UInt64]) func sizes(
    _ size: UInt64
  ) throws {
    var builder = dynamic()
    builder.editFooter = { $0.putBig(size, at: 48) }
    let error = try refusal(builder)
    #expect(error.kind == .malformed && error.message.contains("\(size) bytes"))
    builder.type = .fixed
    builder.blockSize = 40_960
    builder.blocks = [:]
    #expect(try refusal(builder).kind == .malformed)
  }

  @Test func sizeOfNothing() throws {
    var builder = dynamic()
    builder.editFooter = { $0.putBig(0 as UInt64, at: 48) }
    #expect(try OpenedImage(builder).disk.size == 0)
  }

  @Test(arguments: [1 << 20, 1 << 40, 1 << 63, .max, .max - 39] as [UInt64])
  func tablePastTheEnd(_ place: UInt64) throws {
    var builder = dynamic()
    builder.editHeader = { $0.putBig(place, at: 16) }
    let error = try refusal(builder)
    #expect(error.kind == .truncated && error.offset == place)
  }

  @Test func tableThatEndsOneEntryLate() throws {
    let builder = dynamic()
    let size = builder.file.size
    for (place, fits) in [(size - 40, true), (size - 39, false)] {
      var builder = builder
      builder.editHeader = { $0.putBig(place, at: 16) }
      if fits { _ = try OpenedImage(builder) } else { _ = try refusal(builder) }
    }
  }

  @Test(arguments: [1, 1 << 20, 1 << 63, .max, .max - 1023] as [UInt64])
  func headerWhereThereIsNone(_ place: UInt64) throws {
    var builder = dynamic()
    builder.editFooter = { $0.putBig(place, at: 16) }
    #expect(try refusal(builder).offset == place)
  }

  @Test func checksumWrong() throws {
    var builder = dynamic()
    builder.damageFooter = { $0.put([0xFF, 0xFF, 0xFF, 0xFF], at: 64) }
    let image = try OpenedImage(builder)
    #expect(image.notes.count == 1 && image.notes[0].contains("its copy at the start was used"))
    #expect(try image.all == builder.content(0..<40_960))
  }

  /// A parent locator of 2³² − 1 bytes at the end of the file, and elsewhere.
  @Test(arguments: [0, 512, 1 << 40, .max] as [UInt64]) func parentLocators(
    _ place: UInt64
  ) throws {
    var builder = dynamic()
    builder.editHeader = { header in
      for index in 0..<8 {
        header.put("W2ku", at: 576 + 24 * index)
        header.putBig(UInt32.max, at: 576 + 24 * index + 4)
        header.putBig(UInt32.max, at: 576 + 24 * index + 8)
        header.putBig(place, at: 576 + 24 * index + 16)
      }
    }
    // A disk without a parent does not look at them.
    #expect(try OpenedImage(builder).all == builder.content(0..<40_960))
    builder.type = .differencing
    let image = try OpenedImage(builder)
    #expect(image.notes.count == 8)
    #expect(
      image.notes[0]
        == "the parent locator 'W2ku' cannot be read: a parent locator of 4294967295 bytes is longer "
        + "than any path (at byte \(place))")
    #expect(image.parsed.parent?.paths == [])
  }

  @Test(arguments: [512, 1 << 40, .max] as [UInt64]) func parentLocatorsThatAreAsLongAsCanBe(
    _ place: UInt64
  ) throws {
    var builder = dynamic()
    builder.type = .differencing
    builder.editHeader = { header in
      for index in 0..<8 {
        header.put(["W2ru", "W2ku", "MacX", "junk"][index % 4], at: 576 + 24 * index)
        header.putBig(65536 as UInt32, at: 576 + 24 * index + 8)
        header.putBig(place, at: 576 + 24 * index + 16)
      }
    }
    #expect(try OpenedImage(builder).notes.count == 4, "all are past the end of the file")
  }

  @Test func parentIsItself() throws {
    try HostTools.withFolder { folder in
      var builder = dynamic()
      builder.type = .differencing
      builder.parent = (builder.uuid, 0, "disk.vhd")
      try HostTools.write(builder.file.bytes, to: "\(folder)/disk.vhd")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/disk.vhd") }
      #expect(error?.kind == .malformed)
      #expect(error?.message.contains("the chain never ends") == true)
    }
  }

  /// The parent's name comes from the image: it may hold anything.
  @Test func parentWithANameThatDrivesTheTerminal() throws {
    try HostTools.withFolder { folder in
      var builder = dynamic()
      builder.type = .differencing
      builder.editHeader = { header in
        for index in 0..<80 {
          header.putBig([0x1B, 0x0A, 0xD800][index % 3] as UInt16, at: 64 + 2 * index)
        }
      }
      try HostTools.write(builder.file.bytes, to: "\(folder)/disk.vhd")
      let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/disk.vhd") }
      #expect(error?.message.unicodeScalars.contains { $0.value < 32 } == false)
      #expect(error?.message.contains("\\x1b\\x0a\u{FFFD}") == true)
    }
  }

  /// On the footer's copy, on the header, on the table, and from a block's end into them.
  @Test(arguments: [0, 1, 2, 3] as [UInt32]) func blocksOnTheImagesOwnStructures(
    _ entry: UInt32
  ) throws {
    var builder = dynamic()
    builder.editTable = { $0.putBig(entry, at: 4) }
    let image = try OpenedImage(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(4096, 1) }
    #expect(error?.kind == .malformed && error?.offset == UInt64(entry) * 512)
    #expect(error?.path == "disk.vhd")
    // The others are not touched by it.
    #expect(try image.bytes(0, 4096) == builder.content(0..<4096))
    #expect(try image.bytes(8192, 32768) == builder.content(8192..<40_960))
  }

  @Test(arguments: [1 << 16, 0x7FFF_FFFF, 0xFFFF_FFFE] as [UInt32]) func blocksPastTheEnd(
    _ entry: UInt32
  ) throws {
    var builder = dynamic()
    builder.editTable = { $0.putBig(entry, at: 36) }
    let image = try OpenedImage(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(40_000, 10) }
    #expect(error?.kind == .truncated)
    // Behind the block's own bitmap.
    #expect(error?.offset == UInt64(entry) * 512 + 512 + 40_000 - 36_864)
    #expect(try image.bytes(0, 36_864) == builder.content(0..<36_864))
  }

  @Test func theSameBlockTwice() throws {
    var builder = dynamic()
    builder.editTable = { table in table.put(Array(table.bytes[0..<4]), at: 4) }
    let image = try OpenedImage(builder)
    #expect(try image.bytes(4096, 4096) == builder.content(0..<4096))
  }
}
