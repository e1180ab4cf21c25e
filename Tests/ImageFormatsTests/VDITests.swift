import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VDITests {
  private static func opened(_ builder: VDIBuilder) throws -> OpenedImage {
    try OpenedImage(builder.file.storage(path: "disk.vdi"))
  }

  @Test func byHand() throws {
    var builder = VDIBuilder(.dynamic, size: 4 * 1024 + 700)
    builder.blockSize = 1024
    builder.blocks = [
      0: [UInt8](repeating: 0x11, count: 1024), 3: [UInt8](repeating: 0x33, count: 1024),
      4: [UInt8](repeating: 0x44, count: 1024),
    ]
    builder.zeroBlocks = [1]
    builder.order = [3, 4, 0]
    let image = try Self.opened(builder)
    #expect(image.disk.size == 4796 && image.disk.layers[0].tableBytes == 20)
    let zeros = [UInt8](repeating: 0, count: 2048)
    #expect(
      try image.all
        == [UInt8](repeating: 0x11, count: 1024) + zeros + [UInt8](repeating: 0x33, count: 1024)
        + [UInt8](repeating: 0x44, count: 700))
    // Map 512, data 1024: blocks 3, 4, 0.
    #expect(try image.map == ["0+1024 3072", "1024+2048 zero", "3072+1724 1024"])
    #expect(
      image.notes == [
        "the header says 4796 bytes, which is no multiple of 512: tools that round up show a longer "
          + "disk"
      ])
  }

  @Test func whatItSaysOfItself() throws {
    var builder = VDIBuilder(.dynamic, size: 64 << 20)
    builder.comment = "a\ndisk"
    let image = try Self.opened(builder)
    let description = image.disk.layers[0].description
    #expect(description.format == "vdi" && description.subformat == "dynamic")
    #expect(
      description.details.map { "\($0.name): \($0.value)" } == [
        "creator: <<< Oracle VM VirtualBox Disk Image >>>",
        "identifier: a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf",
        "modification identifier: b3b2b1b0-b5b4-b7b6-b8b9-babbbcbdbebf", "block size: 1048576",
        "comment: a\\x0adisk",
      ])
    #expect(description.notes.isEmpty && image.parsed.parent == nil)
    #expect(
      image.parsed.identity == [
        "UUID": ["a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf"],
        "modification UUID": ["b3b2b1b0-b5b4-b7b6-b8b9-babbbcbdbebf"],
      ])
  }

  @Test func fixedIsOneRun() throws {
    var builder = VDIBuilder(.fixed, size: 40 << 10)
    builder.blockSize = 4096
    for index in 0..<10 { builder.blocks[index] = ImageBytes.pattern(4096, seed: UInt64(index)) }
    let image = try Self.opened(builder)
    image.storage.forgetReads()
    #expect(try image.all == builder.content())
    #expect(image.storage.reads.map(\.count) == [40, 40 << 10], "the map, and all blocks at once")
    #expect(image.disk.layers[0].description.subformat == "fixed")
  }

  /// Bytes before each block, which no program writes and the format has.
  @Test func blocksWithSomethingBeforeThem() throws {
    var builder = VDIBuilder(.dynamic, size: 8192)
    builder.blockSize = 2048
    builder.blockExtra = 512
    for index in 0..<3 { builder.blocks[index] = ImageBytes.pattern(2048, seed: UInt64(index)) }
    let image = try Self.opened(builder)
    #expect(try image.all == builder.content())
    #expect(
      try image.map == ["0+2048 1536", "2048+2048 4096", "4096+2048 6656", "6144+2048 zero"])
  }

  @Test(arguments: (9...23).map { UInt32(1) << $0 })
  func anyBlockSizeInAnyOrder(_ blockSize: UInt32) throws {
    for seed in 0..<6 as Range<UInt64> {
      var random = SeededRandom(seed: UInt64(blockSize) + seed)
      let blocks = Int.random(in: 1...(blockSize > 1 << 20 ? 4 : 40), using: &random)
      let unit = Int(blockSize)
      var builder = VDIBuilder(
        .dynamic, size: UInt64((blocks - 1) * unit + Int.random(in: 1...unit, using: &random)))
      builder.blockSize = blockSize
      for index in 0..<blocks {
        switch Int.random(in: 0..<4, using: &random) {
        case 0, 1:
          let count = Int.random(in: 1...min(unit, 3000), using: &random)
          builder.blocks[index] = ImageBytes.pattern(count, seed: random.next())
        case 2: builder.zeroBlocks.insert(index)
        default: break
        }
      }
      if Bool.random(using: &random) {
        builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
      }
      builder.mapOffset = [456, 472, 512, 4096].randomElement(using: &random) ?? 512
      let image = try Self.opened(builder)
      let content = builder.content()
      for _ in 0..<30 {
        let start = Int.random(in: 0...content.count, using: &random)
        let range = start..<min(content.count, start + Int.random(in: 0...5000, using: &random))
        #expect(try image.bytes(range.lowerBound, range.count) == Array(content[range]))
      }
    }
  }

  /// 64 TiB, with data in its first and last block only.
  @Test func aLargeDiskIsOpenedWithoutItsMap() throws {
    var builder = VDIBuilder(.dynamic, size: 64 << 40)
    let last = (64 << 20) - 1
    builder.blocks = [0: [1, 2, 3], last: [4, 5, 6]]
    let image = try Self.opened(builder)
    #expect(image.storage.reads.reduce(0) { $0 + $1.count } < 8192)
    image.storage.forgetReads()
    #expect(try image.bytes(last << 20, 4) == [4, 5, 6, 0])
    #expect(image.storage.reads.count == 2, "one page of the map, and the data")
  }
}
