import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct ParallelsTests {
  private static func opened(_ builder: ParallelsBuilder) throws -> OpenedImage {
    try OpenedImage(builder.file.storage(path: "disk.hds"))
  }

  @Test(arguments: [false, true]) func byHand(_ isExtended: Bool) throws {
    var builder = ParallelsBuilder(extended: isExtended, sectors: 9)
    builder.clusterSectors = 2
    let full = { (byte: UInt8) in [UInt8](repeating: byte, count: 1024) }
    builder.clusters = [0: full(0x11), 2: full(0x22), 3: full(0x33), 4: full(0x44)]
    builder.order = [2, 3, 4, 0]
    let image = try Self.opened(builder)
    #expect(image.disk.size == 4608 && image.disk.layers[0].tableBytes == 20)
    let zeros = [UInt8](repeating: 0, count: 1024)
    #expect(
      try image.all == full(0x11) + zeros + full(0x22) + full(0x33) + full(0x44).prefix(512))
    // Header and table take 84 bytes: the data starts with the next sector, or cluster.
    let data = isExtended ? 1024 : 512
    #expect(
      try image.map == ["0+1024 \(data + 3072)", "1024+1024 zero", "2048+2560 \(data)"])
    #expect(image.notes.isEmpty)
  }

  @Test func whatItSaysOfItself() throws {
    var builder = ParallelsBuilder(extended: true, sectors: 1 << 20)
    builder.inUse = 0x746F_6E59
    builder.editHeader = { $0.putLittle(1 as UInt32, at: 52) }
    let description = try Self.opened(builder).disk.layers[0].description
    #expect(description.format == "parallels" && description.subformat == "expanding")
    #expect(
      description.details.map { "\($0.name): \($0.value)" } == [
        "variant: WithouFreSpacExt", "cluster size: 1048576", "geometry: 2048/16",
      ])
    #expect(
      description.notes == [
        "the image was not closed: a machine is using it, or what used it last crashed",
        "the header calls the disk empty; what its table says is shown all the same",
      ])
  }

  /// 63 sectors are what old versions made.
  @Test(arguments: [false, true], [1, 2, 63, 504, 512, 2048] as [UInt32])
  func anyClusterSizeInAnyOrder(_ isExtended: Bool, _ clusterSectors: UInt32) throws {
    for seed in 0..<6 as Range<UInt64> {
      var random = SeededRandom(seed: UInt64(clusterSectors) + seed)
      let count = Int.random(in: 1...20, using: &random)
      let last = Int.random(in: 1...Int(clusterSectors), using: &random)
      var builder = ParallelsBuilder(
        extended: isExtended, sectors: UInt64((count - 1) * Int(clusterSectors) + last))
      builder.clusterSectors = clusterSectors
      for index in 0..<count where Bool.random(using: &random) {
        builder.clusters[index] = ImageBytes.pattern(
          min(builder.clusterSize, 3000), seed: random.next())
      }
      if Bool.random(using: &random) {
        builder.order = builder.clusters.keys.sorted().shuffled(using: &random)
      }
      let image = try Self.opened(builder)
      let content = builder.content()
      if content.count <= 16 << 20 { #expect(try image.all == content) }
      for _ in 0..<20 {
        let start = Int.random(in: 0...content.count, using: &random)
        let range = start..<min(content.count, start + Int.random(in: 0...5000, using: &random))
        #expect(try image.bytes(range.lowerBound, range.count) == Array(content[range]))
      }
    }
  }

  /// 64 TiB, with data in its first and last cluster only.
  @Test func aLargeDiskIsOpenedWithoutItsTable() throws {
    var builder = ParallelsBuilder(extended: true, sectors: 64 << 31)
    let last = (64 << 20) - 1
    builder.clusters = [0: [1, 2, 3], last: [4, 5, 6]]
    let image = try Self.opened(builder)
    image.storage.forgetReads()
    #expect(try image.bytes(last << 20, 4) == [4, 5, 6, 0])
    #expect(image.storage.reads.count == 2, "one page of the table, and the data")
  }

  /// The upper half of the size is no part of it in old images.
  @Test func theSizeOfOldImages() throws {
    var builder = ParallelsBuilder(extended: false, sectors: 4)
    builder.editHeader = { $0.putLittle(UInt32.max, at: 40) }
    #expect(try Self.opened(builder).disk.size == 2048)
  }
}

/// The Parallels row of shared/HOSTILE.md, and its like.
@Suite struct HostileParallelsTests {
  private func builder(_ isExtended: Bool = true) -> ParallelsBuilder {
    var builder = ParallelsBuilder(extended: isExtended, sectors: 80)
    builder.clusterSectors = 8
    builder.clusters = [0: ImageBytes.pattern(4096, seed: 1), 3: ImageBytes.pattern(4096, seed: 3)]
    return builder
  }

  private func refusal(
    _ kind: DiskError.Kind = .malformed, at offset: UInt64, _ builder: ParallelsBuilder
  ) throws -> String {
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(builder.file.storage(path: "disk.hds"))
    }
    let found = try #require(error)
    #expect(found.kind == kind && found.offset == offset, "\(found)")
    return found.message
  }

  @Test(arguments: [0, 1 << 20 + 1, .max] as [UInt32]) func clusterSizes(_ size: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(size, at: 28) }
    #expect(try refusal(at: 28, builder).contains("a cluster size of \(size) sectors"))
  }

  @Test(arguments: [0, 9] as [UInt32]) func tooFewEntries(_ count: UInt32) throws {
    var builder = builder()
    builder.tableEntries = count
    #expect(
      try refusal(at: 32, builder)
        == "a disk of 80 sectors needs 10 clusters, but the table has \(count)")
  }

  @Test func entriesThatAreNotThere() throws {
    var builder = builder()
    builder.editHeader = {
      $0.putLittle(UInt32.max, at: 32)
      $0.putLittle(UInt64(UInt32.max) * 8, at: 36)
    }
    _ = try refusal(.truncated, at: 64, builder)
  }

  @Test(arguments: [1 << 53 + 1, 1 << 63, .max] as [UInt64]) func sizes(_ size: UInt64) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(size, at: 36) }
    _ = try refusal(at: 36, builder)
  }

  @Test(arguments: [0, 1, 3, .max] as [UInt32]) func versions(_ version: UInt32) throws {
    var builder = builder()
    builder.editHeader = { $0.putLittle(version, at: 16) }
    _ = try refusal(.unsupported, at: 16, builder)
  }

  @Test(arguments: [16, 28, 63]) func filesThatEndInTheHeader(_ count: Int) throws {
    let storage = MemoryStorage(Array(builder().file.bytes.prefix(count)), path: "disk.hds")
    let error = #expect(throws: DiskError.self) { try OpenedImage(storage) }
    #expect(error?.kind == .truncated)
  }

  @Test(arguments: [false, true], [1 << 8, 0x7FFF_FFFF, .max] as [UInt32])
  func clustersPastTheEnd(_ isExtended: Bool, _ entry: UInt32) throws {
    var builder = builder(isExtended)
    builder.editTable = { $0.putLittle(entry, at: 36) }
    let image = try OpenedImage(builder.file.storage(path: "disk.hds"))
    let error = #expect(throws: DiskError.self) { try image.bytes(40_000, 10) }
    #expect(error?.kind == .truncated)
    #expect(error?.offset == UInt64(entry) * (isExtended ? 4096 : 512) + 40_000 - 36_864)
    #expect(try image.bytes(0, 36_864) == Array(builder.content().prefix(36_864)))
  }

  /// On the table, whose entries that the disk does not need count too.
  @Test func clustersOnTheTable() throws {
    var builder = builder(false)
    builder.tableEntries = 500
    builder.editTable = { $0.putLittle(2 as UInt32, at: 4) }
    let image = try OpenedImage(builder.file.storage(path: "disk.hds"))
    let error = #expect(throws: DiskError.self) { try image.bytes(4096, 1) }
    #expect(error?.kind == .malformed && error?.offset == 1024)
    #expect(try image.bytes(8192, 4096) == [UInt8](repeating: 0, count: 4096))
  }

  @Test func aClusterThatIsCutOff() throws {
    let bytes = builder().file.bytes
    let image = try OpenedImage(MemoryStorage(Array(bytes.dropLast(96)), path: "disk.hds"))
    #expect(try image.bytes(12_288, 4000) == Array(builder().content()[12_288..<16_288]))
    let error = #expect(throws: DiskError.self) { try image.bytes(16_288, 1) }
    #expect(error?.kind == .truncated && error?.offset == UInt64(bytes.count - 96))
  }
}

@Suite struct ParallelsFuzzTests {
  private static let iterations = Soak.rounds(1500)

  @Test(arguments: [false, true]) func overwritten(_ isExtended: Bool) throws {
    var builder = ParallelsBuilder(extended: isExtended, sectors: 40)
    builder.clusterSectors = 4
    builder.clusters = [0: [1], 3: [2], 4: [3], 9: [4]]
    let bytes = builder.file.bytes
    var random = SeededRandom(seed: isExtended ? 1 : 2)
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: Array(0..<104), &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: ParallelsFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }

  /// A descriptor names files, of which a fuzzed one has none: it gets as far as the first.
  @Test func overwrittenDescriptors() throws {
    let text = ParallelsDescriptorBuilder(
      size: 40, [.init(0, 40, [.init(ParallelsDescriptorBuilder.top, "Plain", "a")])]
    ).text
    var random = SeededRandom(seed: 3)
    for _ in 0..<Self.iterations {
      var bytes = Array(text.utf8)
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 60..<bytes.count, using: &random)
        if Bool.random(using: &random) {
          bytes[place] = Array("<>/&;\"'![]?-\u{0}9".utf8).randomElement(using: &random) ?? 0
        } else {
          bytes.removeSubrange(
            place..<min(bytes.count, place + Int.random(in: 1...9, using: &random)))
        }
      }
      #expect(try !FuzzedImage.survives(bytes, as: ParallelsFormat(), &random))
    }
  }
}
