import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VHDXTests {
  private func map(_ image: OpenedImage) throws -> [String] {
    var map: [String] = []
    try image.disk.whole.forEachMapEntry { entry in
      map.append(
        "\(entry.offset.bytes >> 20)+\(entry.length >> 20) \(entry.fileOffset?.bytes ?? 0)")
    }
    return map
  }

  @Test func byHand() throws {
    var builder = VHDXBuilder(size: 6 << 20)
    builder.blocks = [
      1: ImageBytes.pattern(1 << 20, seed: 1), 2: ImageBytes.pattern(1 << 20, seed: 2),
      4: ImageBytes.pattern(1 << 20, seed: 4),
    ]
    builder.order = [1, 2, 4]
    let image = try OpenedImage(builder)
    #expect(image.disk.size == 6 << 20 && image.notes.isEmpty)
    #expect(try image.all == builder.content())
    #expect(image.disk.whole.allocatedBytes() == 3 << 20)
    let layer = image.disk.layers[0]
    #expect(layer.tableBytes == 48)
    // Blocks 1 and 2 are neighbours on the disk and in the file.
    let extent = try layer.extent(at: DiskOffset(1 << 20 + 5), limit: 4 << 20)
    guard case .stored(_, let at) = extent.place else {
      Issue.record("not stored")
      return
    }
    #expect(at.bytes == builder.dataOffset + 5 && extent.length == 2 << 20 - 5)
    #expect(try map(image).count == 5)
  }

  @Test func whatItSaysOfItself() throws {
    let expected = [
      "creator: builder", "identifier: aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
      "block size: 1048576", "logical sector size: 512", "physical sector size: 4096",
    ]
    var builder = VHDXBuilder(size: 3 << 20)
    for (fixed, name) in [(false, "dynamic"), (true, "fixed")] {
      builder.leavesBlocksAllocated = fixed
      let image = try OpenedImage(builder)
      let description = image.disk.layers[0].description
      #expect(description.format == "vhdx" && description.subformat == name)
      #expect(description.details.map { "\($0.name): \($0.value)" } == expected)
      #expect(
        image.parsed.identity["data write GUID"] == ["11111111-2222-3333-4444-555555555555"])
      #expect(image.parsed.parent == nil)
    }
  }

  @Test func blocksThatAreNotStoredAreZeros() throws {
    var builder = VHDXBuilder(size: 5 << 20)
    builder.states = [0: .notPresent, 1: .undefined, 2: .zero, 3: .unmapped]
    builder.blocks = [4: [1, 2, 3]]
    // Where such a block once was is of no importance.
    builder.editTable = { $0.putLittle(UInt64(1) << 40 | 3, at: 24) }
    let image = try OpenedImage(builder)
    #expect(try image.all == builder.content())
    #expect(try image.disk.whole.nextData(from: .start)?.bytes == 4 << 20)
  }

  static let sectorSizes = [512, 4096] as [UInt32]

  @Test(arguments: sectorSizes, [1, 2, 32] as [UInt32]) func blocksInAnyOrder(
    _ sectorSize: UInt32, _ mebibytes: UInt32
  ) throws {
    for seed in 0..<3 as Range<UInt64> {
      var random = SeededRandom(seed: UInt64(mebibytes) * 10 + seed)
      let unit = Int(mebibytes) << 20
      let sectors = Int.random(in: 1...10 * unit / Int(sectorSize), using: &random)
      var builder = VHDXBuilder(size: UInt64(sectors) * UInt64(sectorSize))
      builder.blockSize = mebibytes << 20
      builder.sectorSize = sectorSize
      for block in 0..<builder.blockCount where Bool.random(using: &random) {
        builder.blocks[block] = ImageBytes.pattern(4000, seed: random.next())
      }
      builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
      let image = try OpenedImage(builder)
      #expect(image.disk.size == builder.size)
      for block in 0..<builder.blockCount {
        for start in [block * unit - 2000, block * unit, block * unit + 3000]
        where start >= 0 && start < Int(builder.size) {
          let count = min(2500, Int(builder.size) - start)
          let held = (start..<start + count).map { place -> UInt8 in
            guard let content = builder.blocks[place / unit], place % unit < content.count else {
              return 0
            }
            return content[place % unit]
          }
          #expect(try image.bytes(start, count) == held)
        }
      }
    }
  }

  /// Behind the entries of each chunk stands the entry of its bitmap: 4,096 blocks of 1 MiB with
  /// sectors of 512 bytes, 128 blocks of 256 MiB with sectors of 4,096.
  @Test(arguments: [(512, 1, 4096), (512, 256, 16), (4096, 256, 128)] as [(UInt32, UInt32, Int)])
  func bitmapsEntriesArePassedOver(_ sector: UInt32, _ mebibytes: UInt32, _ ratio: Int) throws {
    var builder = VHDXBuilder(size: UInt64(ratio * 2 + 1) * UInt64(mebibytes) << 20)
    builder.blockSize = mebibytes << 20
    builder.sectorSize = sector
    #expect(builder.chunkRatio == ratio)
    for block in [0, ratio - 1, ratio, ratio * 2 - 1, ratio * 2] {
      builder.blocks[block] = [UInt8(1 + block % 251), 9]
    }
    let image = try OpenedImage(builder)
    let unit = UInt64(mebibytes) << 20
    for (block, content) in builder.blocks {
      #expect(try image.disk.whole.bytes(at: DiskOffset(UInt64(block) * unit), count: 2) == content)
    }
    #expect(try image.disk.whole.bytes(at: DiskOffset(unit), count: 2) == [0, 0])
  }

  @Test func theLaterHeaderCounts() throws {
    // Both valid; the first has the greater number.
    var builder = VHDXBuilder(size: 1 << 20)
    builder.damageSecondHeader = { header in
      header.put(VHDXBuilder.guid("99999999-9999-9999-9999-999999999999"), at: 32)
      VHDXBuilder.seal(&header)
    }
    let guid = { (builder: VHDXBuilder) in
      try OpenedImage(builder).parsed.identity["data write GUID"]?.first?.first
    }
    #expect(try guid(builder) == "1")
    builder.damageFirstHeader = { header in
      header.putLittle(5 as UInt64, at: 8)
      VHDXBuilder.seal(&header)
    }
    #expect(try guid(builder) == "9")
    // The first is torn, the second older.
    builder.damageFirstHeader = { $0.put([1], at: 4000) }
    #expect(try guid(builder) == "9")
    #expect(try OpenedImage(builder).notes.count == 1)
  }

  @Test func theSecondRegionTable() throws {
    var builder = VHDXBuilder(size: 1 << 20)
    builder.blocks = [0: [7]]
    builder.damageFirstRegions = { $0.put([1], at: 60_000) }
    let image = try OpenedImage(builder.storage(), mostRead: 200_000)
    #expect(image.notes == ["the region table is damaged; its second copy was used"])
    #expect(try image.bytes(0, 2) == [7, 0])
  }

  /// 64 TiB: a table of half a gigabyte, of which opening reads nothing.
  @Test func theLargestDisk() throws {
    var builder = VHDXBuilder(size: 64 << 40)
    let last = (64 << 20) - 1
    builder.blocks = [0: [1, 2, 3], last: [4, 5, 6]]
    let storage = builder.storage()
    let clock = ThreadClock()
    let start = clock.now
    let image = try OpenedImage(storage, mostRead: OpenedImage.mostReadOfVHDX)
    #expect(start.duration(to: clock.now) < .milliseconds(200))
    image.storage.forgetReads()
    #expect(
      try image.disk.whole.bytes(at: DiskOffset(UInt64(last) << 20), count: 4) == [4, 5, 6, 0])
    #expect(image.storage.reads.count == 2, "a page of the table, and the data")
  }

  @Test func probing() throws {
    let storage = VHDXBuilder(size: 1 << 20).storage()
    let probe = FormatProbe(try ImageSample(of: storage))
    #expect(probe.fitting.map(\.name) == ["vhdx"] && probe.recognised == nil)
    #expect(!VHDXFormat().fits(try ImageSample(of: MemoryStorage(Array("vhdxfil".utf8)))))
    let error = #expect(throws: DiskError.self) {
      try VHDXFormat().open(MemoryStorage([UInt8](repeating: 0, count: 1024)), .none)
    }
    #expect(error?.kind == .malformed)
  }
}
