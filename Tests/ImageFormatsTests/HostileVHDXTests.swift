import DiskCore
import ImageFormats
import TestSupport
import Testing

/// The VHDX row of shared/HOSTILE.md but its log, which is in HostileVHDXLogTests. `OpenedImage`
/// checks the second, the little that is read and the file's name in each error.
@Suite struct HostileVHDXTests {
  private func image() -> VHDXBuilder {
    var builder = VHDXBuilder(size: 5 << 20)
    builder.blocks = [0: ImageBytes.pattern(1 << 20, seed: 1), 3: ImageBytes.pattern(9, seed: 3)]
    return builder
  }

  private func refusal(
    _ builder: VHDXBuilder, _ words: String, _ kind: DiskError.Kind = .malformed
  ) throws {
    let error = #expect(throws: DiskError.self) {
      // A region table whose checksum is wrong makes the second one be read.
      try OpenedImage(builder.storage(), mostRead: 200_000)
    }
    #expect(error?.kind == kind)
    #expect(error?.offset != nil)
    let message = try #require(error).message
    #expect(message.contains(words), "\(message)")
  }

  @Test(arguments: [0, 1, 512, 3 << 20, 1 << 19, 1 << 29, 1 << 31, .max] as [UInt32])
  func blockSizes(_ size: UInt32) throws {
    var builder = image()
    builder.editItems = { $0.putLittle(size, at: 0) }
    try refusal(builder, "a block size of \(size) bytes")
  }

  @Test(arguments: [64 << 40 + 512, 1 << 62, .max, .max - 511, 1000] as [UInt64])
  func sizes(_ size: UInt64) throws {
    var builder = image()
    builder.editItems = { $0.putLittle(size, at: 8) }
    try refusal(builder, "a disk of \(size) bytes")
  }

  @Test func sizeThatTheTableDoesNotCover() throws {
    var builder = image()
    // 1 MiB of entries: 131,072, of which every 4,097th is a bitmap's.
    builder.editItems = { $0.putLittle(UInt64(131_072) << 20, at: 8) }
    try refusal(builder, "needs 131103 table entries, but the block table has 131072")
  }

  @Test(arguments: [0, 1, 511, 1024, 8192, .max] as [UInt32]) func sectorSizes(
    _ size: UInt32
  ) throws {
    var builder = image()
    builder.editItems = { $0.putLittle(size, at: 32) }
    try refusal(builder, "logical sectors of \(size) bytes")
  }

  @Test func bothHeadersBad() throws {
    var builder = image()
    builder.damageFirstHeader = { $0.put([1], at: 4095) }
    builder.damageSecondHeader = { $0.put("HEAD", at: 0) }
    try refusal(builder, "the checksum of the VHDX header is wrong")
    builder.damageFirstHeader = { $0.put([UInt8](repeating: 0, count: 4096), at: 0) }
    try refusal(builder, "no VHDX header here")
  }

  @Test func headersOfOneAge() throws {
    var builder = image()
    builder.editHeaders = { $0.putLittle(9 as UInt64, at: 8) }
    #expect(try OpenedImage(builder).notes == [])
    builder.damageFirstHeader = { header in
      header.put([7], at: 20)
      VHDXBuilder.seal(&header)
    }
    try refusal(builder, "neither is the later one")
  }

  @Test func versions() throws {
    var builder = image()
    builder.editHeaders = { $0.putLittle(2 as UInt16, at: 66) }
    try refusal(builder, "a VHDX of version 2", .unsupported)
  }

  @Test(
    arguments: [
      (0x10_0000, 0), (0x10_0000, 0x18_0000), (0x10_0001, 0x10_0000), (0x10_0000, .max << 20),
    ] as [(UInt32, UInt64)])
  func logsThatCannotBe(_ length: UInt32, _ offset: UInt64) throws {
    var builder = image()
    builder.editHeaders = { header in
      header.putLittle(length, at: 68)
      header.putLittle(offset, at: 72)
    }
    // The last one ends where the numbers do.
    if offset == .max << 20 {
      try refusal(builder, "a log of")
    } else {
      try refusal(builder, "a log of \(length) bytes at \(offset)")
    }
  }

  @Test(arguments: [2048, 0x7FFF_FFFF, .max] as [UInt32]) func regionCounts(
    _ count: UInt32
  ) throws {
    var builder = image()
    builder.editRegions = { $0.putLittle(count, at: 8) }
    try refusal(builder, "a region table of \(count) entries")
  }

  @Test func manyRegions() throws {
    var builder = image()
    builder.editRegions = { table in
      table.putLittle(2047 as UInt32, at: 8)
      for index in 2..<2047 {
        table.putLittle(UInt32(index), at: 16 + 32 * index)
        table.putLittle(UInt64(index) << 30, at: 32 + 32 * index)
        table.putLittle(UInt32(1 << 20), at: 40 + 32 * index)
      }
    }
    #expect(try OpenedImage(builder).bytes(0, 1 << 20) == ImageBytes.pattern(1 << 20, seed: 1))
    builder.editRegions = { $0.putLittle(0 as UInt32, at: 8) }
    try refusal(builder, "names no block table or no metadata")
  }

  /// Over each other, over the log, over the header section, past the end of numbers.
  @Test func regionsWhereNoneCanBe() throws {
    var builder = image()
    for (place, words) in [
      (VHDXBuilder.metadataOffset, "overlap"), (VHDXBuilder.logOffset, "overlap"),
      (0, "a region of"), (1 << 20 | 1, "a region of"), (.max << 20, "a region of"),
    ] as [(UInt64, String)] {
      builder.editRegions = { $0.putLittle(place, at: 32) }
      try refusal(builder, words)
    }
    builder.editRegions = { $0.putLittle(UInt64(1) << 40, at: 32) }
    try refusal(builder, "past the end of the file", .truncated)
    // 4 GiB less 1 MiB of a block table: over what comes behind it; the blocks are on it.
    builder.editRegions = { $0.putLittle(UInt32.max << 20, at: 40) }
    let image = try OpenedImage(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(0, 1) }
    #expect(error?.kind == .malformed)
    #expect(try image.bytes(1 << 20, 2 << 20) == [UInt8](repeating: 0, count: 2 << 20))
  }

  @Test func regionsThatAreNotKnown() throws {
    var builder = image()
    for (required, twice) in [(1, false), (0, false), (0, true)] as [(UInt32, Bool)] {
      builder.editRegions = { table in
        table.putLittle(3 as UInt32, at: 8)
        table.put([UInt8](repeating: 9, count: 16), at: 80)
        if twice { table.put(VHDXBuilder.guid(VHDXBuilder.metadataGUID), at: 80) }
        table.putLittle(UInt64(1) << 40, at: 96)
        table.putLittle(UInt32(1 << 20), at: 104)
        table.putLittle(required, at: 108)
      }
      if required == 1 {
        try refusal(builder, "has a region 09090909-", .unsupported)
      } else if twice {
        try refusal(builder, "is there twice")
      } else {
        _ = try OpenedImage(builder)
      }
    }
  }

  @Test func bothRegionTablesBad() throws {
    var builder = image()
    builder.damageFirstRegions = { $0.put([1], at: 65535) }
    builder.damageSecondRegions = { $0.put([1], at: 65535) }
    try refusal(builder, "the checksum of the region table is wrong")
  }

  @Test(
    arguments: [
      (0, 8), (65535, 8), (1 << 20, 8), (1 << 20 - 4, 8), (.max, 8), (65536, .max),
      (65536, 1 << 21),
    ] as [(UInt32, UInt32)])
  func metadataItemsPastTheirRegion(_ offset: UInt32, _ length: UInt32) throws {
    var builder = image()
    builder.editMetadata = { table in
      table.putLittle(offset, at: 48)
      table.putLittle(length, at: 52)
    }
    try refusal(builder, "a metadata item of \(length) bytes at \(offset)")
  }

  @Test func metadataTables() throws {
    var builder = image()
    builder.editMetadata = { $0.put("metadatb", at: 0) }
    try refusal(builder, "no metadata where")
    builder.editMetadata = { $0.putLittle(2048 as UInt16, at: 10) }
    try refusal(builder, "a metadata table of 2048 entries")
    builder.editMetadata = { $0.putLittle(4 as UInt32, at: 52) }
    try refusal(builder, "has 4 bytes, not 8")
    builder.editMetadata = { $0.put(VHDXBuilder.guid(VHDXBuilder.diskSizeGUID), at: 32) }
    try refusal(builder, "is there twice")
    // Not known and required; not known; a user's, which may have any identifier.
    builder.editMetadata = { $0.put([9], at: 32) }
    try refusal(builder, "has a metadata item", .unsupported)
    builder.editMetadata = { table in
      table.put([9], at: 32)
      table.putLittle(0 as UInt32, at: 56)
    }
    try refusal(builder, "have no item caa16737-")
    builder.editMetadata = { table in
      table.putLittle(6 as UInt16, at: 10)
      table.put(VHDXBuilder.guid(VHDXBuilder.diskSizeGUID), at: 192)
      table.putLittle(1 as UInt32, at: 216)
    }
    _ = try OpenedImage(builder)
    builder.editMetadata = { _ in }
    builder.hasParent = true
    try refusal(builder, "have no item a8d35f2d-")
  }

  @Test(arguments: [1, 4, 5, 7] as [UInt64]) func statesThatCannotBe(_ state: UInt64) throws {
    var builder = image()
    builder.editTable = { $0.putLittle(state, at: 8) }
    let image = try OpenedImage(builder)
    if state == 1 {
      #expect(try image.bytes(1 << 20, 1) == [0])
    } else {
      let error = #expect(throws: DiskError.self) { try image.bytes(1 << 20, 1) }
      #expect(error?.kind == .malformed && error?.offset == VHDXBuilder.tableOffset + 8)
    }
    #expect(try image.bytes(0, 1 << 20) == ImageBytes.pattern(1 << 20, seed: 1))
    #expect(try image.bytes(2 << 20, 1 << 20) == [UInt8](repeating: 0, count: 1 << 20))
  }

  /// On the headers, the log, the metadata, the table, and from a block's end into them.
  @Test(arguments: [0, 1, 2, 3] as [UInt64]) func blocksOnTheImagesOwnStructures(
    _ place: UInt64
  ) throws {
    var builder = image()
    builder.editTable = { $0.putLittle(place << 20 | 6, at: 8) }
    let image = try OpenedImage(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(1 << 20, 1) }
    #expect(error?.kind == .malformed && error?.offset == place << 20)
    #expect(try image.bytes(0, 1 << 20) == ImageBytes.pattern(1 << 20, seed: 1))
  }

  @Test(arguments: [1 << 40, .max << 20, 1 << 63] as [UInt64]) func blocksPastTheEnd(
    _ place: UInt64
  ) throws {
    var builder = image()
    builder.editTable = { $0.putLittle(place | 6, at: 8) }
    let image = try OpenedImage(builder)
    let error = #expect(throws: DiskError.self) { try image.bytes(1 << 20, 1) }
    #expect(error?.kind == .truncated && error?.offset == place)
    #expect(try image.bytes(0, 1 << 20) == ImageBytes.pattern(1 << 20, seed: 1))
  }

  /// The file ends inside a block, and inside each of its own structures.
  @Test func filesThatAreCutShort() throws {
    var builder = image()
    builder.fileSize = builder.dataOffset + 1000
    let image = try OpenedImage(builder)
    #expect(try image.bytes(0, 1000) == ImageBytes.pattern(1000, seed: 1))
    let error = #expect(throws: DiskError.self) { try image.bytes(999, 2) }
    #expect(error?.kind == .truncated)
    for size in [8, 600, 70_000, 140_000, 200_000, 300_000, 2 << 20, 2 << 20 | 70_000, 3 << 20]
      as [UInt64]
    {
      builder.fileSize = size
      let error = #expect(throws: DiskError.self) {
        try OpenedImage(builder.storage(), mostRead: 200_000)
      }
      #expect(error?.offset != nil)
    }
  }

  /// 5,461 keys that all have a value of 64 KiB: only those that are known are decoded.
  @Test func parentLocators() throws {
    var builder = image()
    builder.hasParent = true
    builder.locator = [("relative_path", "p.vhdx")]
    try refusal(builder, "does not say which image the parent is")
    builder.locator = [("parent_linkage", "{x}"), ("relative_path", "p.vhdx")]
    #expect(try OpenedImage(builder).parsed.parent?.paths == ["p.vhdx"])
    let start = 8 + 8 + 16 + 4 + 4
    builder.editItems = { $0.put([1], at: start) }
    try refusal(builder, "a locator of type", .unsupported)
    builder.editItems = { $0.putLittle(UInt16.max, at: start + 18) }
    try refusal(builder, "outside", .truncated)
    builder.editItems = { $0.putLittle(UInt32.max, at: start + 20) }
    try refusal(builder, "outside", .truncated)
    builder.locator.append(("relative_path", "q.vhdx"))
    builder.editItems = { _ in }
    try refusal(builder, "has the key relative_path twice")
    builder.locator = [("parent_linkage", "{x}")]
    builder.locator += (0..<80).map { ("relative_pat\($0 % 10)", "\($0)") }
    #expect(try OpenedImage(builder).parsed.parent?.paths == [])
  }
}
