import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VHDDynamicTests {
  @Test func byHand() throws {
    var builder = VHDBuilder(.dynamic, size: 3 * 1024 + 512)
    builder.blockSize = 1024
    builder.blocks = [
      0: [UInt8](repeating: 0x11, count: 1024), 2: [UInt8](repeating: 0x22, count: 1024),
    ]
    builder.order = [2, 0]
    let image = try OpenedImage(builder)
    #expect(image.disk.size == 3584 && image.notes.isEmpty)
    let zeros = [UInt8](repeating: 0, count: 1024)
    #expect(
      try image.all
        == [UInt8](repeating: 0x11, count: 1024) + zeros + [UInt8](repeating: 0x22, count: 1024)
        + zeros.prefix(512))
    // Copy 0, header 512, table 1536, bitmap 2048, block 2, bitmap 3584, block 0.
    var map: [String] = []
    try image.disk.whole.forEachMapEntry { entry in
      map.append("\(entry.offset.bytes)+\(entry.length) \(entry.fileOffset?.bytes ?? 0)")
    }
    #expect(map == ["0+1024 4096", "1024+1024 0", "2048+1024 2560", "3072+512 0"])
    #expect(image.disk.whole.allocatedBytes() == 2048)
  }

  @Test func whatItSaysOfItself() throws {
    var builder = VHDBuilder(.dynamic, size: 64 << 20)
    builder.creator = "qem2"
    let layer = try OpenedImage(builder).disk.layers[0]
    #expect(layer.tableBytes == 32 * 4)
    let description = layer.description
    #expect(description.format == "vhd" && description.subformat == "dynamic")
    #expect(
      description.details.map { "\($0.name): \($0.value)" } == [
        "creator: qem2", "identifier: a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf",
        // 131,072 sectors: 7,710 tracks of 17, 8 heads.
        "geometry: 963/8/17", "block size: 2097152",
      ])
    #expect(description.notes.isEmpty)
  }

  @Test func sizesThatToolsReadDifferentlyAreSaid() throws {
    var builder = VHDBuilder(.dynamic, size: 64 << 20)
    builder.creator = "vpc "
    #expect(
      try OpenedImage(builder).notes == [
        "the footer says 67108864 bytes, its geometry 67055616: tools that go by the geometry show a "
          + "shorter disk"
      ])
    builder.geometry = (1024, 8, 16)
    #expect(try OpenedImage(builder).notes.isEmpty)
  }

  @Test func neighbouringBlocksAreNotOneRun() throws {
    // Between the data of two blocks lies the second one's bitmap.
    var builder = VHDBuilder(.dynamic, size: 4096)
    builder.blockSize = 2048
    builder.blocks = [0: ImageBytes.pattern(2048, seed: 1), 1: ImageBytes.pattern(2048, seed: 2)]
    let image = try OpenedImage(builder)
    image.storage.forgetReads()
    #expect(try image.all == builder.content(0..<4096))
    #expect(image.storage.reads.map(\.count) == [8, 2048, 2048], "the table, and each block")
  }

  static let blockSizes = (9...23).map { UInt32(1) << $0 }

  @Test(arguments: blockSizes) func anyBlockSizeInAnyOrder(_ blockSize: UInt32) throws {
    for seed in 0..<8 as Range<UInt64> {
      var random = SeededRandom(seed: UInt64(blockSize) + seed)
      let blocks = Int.random(in: 1...40, using: &random)
      let unit = Int(blockSize)
      let size = (blocks - 1) * unit + 512 * Int.random(in: 1...unit / 512, using: &random)
      var builder = VHDBuilder(.dynamic, size: UInt64(size))
      builder.blockSize = blockSize
      for index in 0..<blocks where Int.random(in: 0..<3, using: &random) == 0 {
        let count = Int.random(in: 1...min(unit, 3000), using: &random)
        builder.blocks[index] = ImageBytes.pattern(count, seed: random.next())
      }
      builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
      builder.tableEntries = UInt32(blocks + Int.random(in: 0...3, using: &random))
      let image = try OpenedImage(builder)
      #expect(image.disk.size == UInt64(size))
      for _ in 0..<30 {
        let start = Int.random(in: 0...size, using: &random)
        let range = start..<min(size, start + Int.random(in: 0...5000, using: &random))
        #expect(try image.bytes(range.lowerBound, range.count) == builder.content(range))
      }
      for index in builder.blocks.keys {
        let range = index * unit..<min(size, index * unit + 3000)
        #expect(try image.bytes(range.lowerBound, range.count) == builder.content(range))
      }
      try unallocatedRunsAreOne(image, builder)
    }
  }

  /// The map has one entry for each allocated block and one for each run of others between them.
  private func unallocatedRunsAreOne(_ image: OpenedImage, _ builder: VHDBuilder) throws {
    var runs: [Range<UInt64>] = []
    var end: UInt64 = 0
    let unit = UInt64(builder.blockSize)
    for index in builder.blocks.keys.sorted() {
      let start = UInt64(index) * unit
      if start > end { runs.append(end..<start) }
      end = min(start + unit, builder.size)
    }
    if end < builder.size { runs.append(end..<builder.size) }
    for run in runs {
      let entry = try image.disk.whole.mapEntry(at: DiskOffset(run.lowerBound))
      guard case .zero = entry.content else {
        Issue.record("\(run) is not zero")
        continue
      }
      #expect(entry.length == UInt64(run.count))
    }
  }

  /// 2,040 GiB, the largest that Virtual PC makes, with data in its first and last block only.
  @Test func aLargeDiskIsOpenedWithoutItsTable() throws {
    var builder = VHDBuilder(.dynamic, size: 2040 << 30)
    let last = 2040 * 512 - 1
    builder.blocks = [0: [1, 2, 3], last: [4, 5, 6]]
    let image = try OpenedImage(builder)
    #expect(image.disk.size == 2040 << 30)
    #expect(image.storage.reads.reduce(0) { $0 + $1.count } < 8192)
    let window = image.disk.whole
    image.storage.forgetReads()
    #expect(try window.bytes(at: DiskOffset(UInt64(last) << 21), count: 4) == [4, 5, 6, 0])
    #expect(image.storage.reads.count == 2, "one page of the table, and the data")
    #expect(try window.nextData(from: DiskOffset(1 << 21))?.bytes == UInt64(last) << 21)
    #expect(window.allocatedBytes() == 6)
    #expect(image.disk.layers[0].tableBytes == 1_044_480 * 4)
  }
}
