import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct QCOW2Tests {
  /// Every byte of a small version 2 image, written down by hand.
  @Test func byHand() throws {
    var image = ImageBytes(count: 8 * 512)
    image.put([0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 2], at: 0)
    image.put([0, 0, 0, 9], at: 20)  // clusters of 512 bytes
    image.put([0, 0, 0, 0, 0, 0, 0x08, 0x64], at: 24)  // 2,148 bytes: 4 clusters and 100 bytes
    image.put([0, 0, 0, 1], at: 36)  // L1: one entry at 1,536
    image.put([0, 0, 0, 0, 0, 0, 0x06, 0], at: 40)
    image.put([0, 0, 0, 0, 0, 0, 0x02, 0], at: 48)  // refcounts at 512: one cluster
    image.put([0, 0, 0, 1], at: 56)
    image.put([0x80, 0, 0, 0, 0, 0, 0x08, 0], at: 1536)  // L2 at 2,048
    image.put([0x80, 0, 0, 0, 0, 0, 0x0E, 0], at: 2048)  // cluster 0 at 3,584
    image.put([0, 0, 0, 0, 0, 0, 0x0C, 0], at: 2064)  // cluster 2 at 3,072, shared
    image.put([0x80, 0, 0, 0, 0, 0, 0x0E, 0], at: 2080)  // cluster 4 where cluster 0 is
    image.put([UInt8](repeating: 2, count: 512), at: 3072)
    image.put([UInt8](repeating: 7, count: 512), at: 3584)
    let opened = try OpenedImage(MemoryStorage(image.bytes, path: "disk.qcow2"))
    let zeros = [UInt8](repeating: 0, count: 512)
    #expect(opened.disk.size == 2148 && opened.notes.isEmpty)
    #expect(
      try opened.all
        == [UInt8](repeating: 7, count: 512) + zeros + [UInt8](repeating: 2, count: 512) + zeros
        + [UInt8](repeating: 7, count: 100))
    #expect(
      try opened.map == [
        "0+512 3584", "512+512 zero", "1024+512 3072", "1536+512 zero", "2048+100 3584",
      ])
    #expect(
      opened.disk.layers[0].description.details.map { "\($0.name): \($0.value)" } == [
        "compat: 0.10", "cluster size: 512", "compression type: zlib", "refcount bits: 16",
      ])
  }

  @Test func whatItSaysOfItself() throws {
    var builder = QCOW2Builder(size: 1 << 30)
    builder.compatible = 1
    builder.incompatible = 3
    builder.hasSubclusters = true
    builder.isZstd = true
    builder.editHeader = { $0.putBig(3 as UInt32, at: 96) }
    builder.snapshots = [.init("1", "a", size: 1 << 30, [:])]
    builder.extensions = [
      (0x2385_2875, [0, 0, 0, 2] + [UInt8](repeating: 0, count: 20)), (0x1234_5678, [1, 2, 3]),
    ]
    let description = try OpenedImage(builder).disk.layers[0].description
    #expect(description.format == "qcow2" && description.subformat == "v3")
    #expect(
      description.details.map { "\($0.name): \($0.value)" } == [
        "compat: 1.1", "cluster size: 65536", "compression type: zstd", "refcount bits: 8",
        "lazy refcounts: yes", "extended L2: yes", "bitmaps: 2", "snapshots: 1",
      ])
    #expect(
      description.notes == [
        "it was not closed cleanly: its reference counts may be wrong, which does not matter for "
          + "reading",
        "it is marked as corrupt: some of it may be wrong ('qemu-img check' says more)",
      ])
  }

  @Test(arguments: [9, 10, 12, 14, 16, 18, 21]) func everyClusterSizeAndKind(_ clusterBits: Int)
    throws
  {
    for (version, isZstd) in [(2 as UInt32, false), (3, false), (3, true)] {
      var random = SeededRandom(seed: UInt64(clusterBits))
      let unit = 1 << clusterBits
      var builder = QCOW2Builder(size: UInt64(9 * unit - unit / 3))
      builder.version = version
      builder.isZstd = isZstd
      builder.clusterBits = clusterBits
      func content(_ index: UInt64) -> [UInt8] {
        var bytes = ImageBytes(ImageBytes.pattern(min(unit, 2000), seed: index))
        bytes.grow(to: unit)
        return bytes.bytes
      }
      func stream(_ index: UInt64) -> QCOW2Builder.Cluster {
        let bytes = content(index)
        return .compressed(
          isZstd ? CompressedBytes.zstd(bytes) : CompressedBytes.deflate(bytes), bytes)
      }
      builder.clusters = [
        0: .data(content(0)), 1: .data(content(1)), 3: stream(3), 4: stream(4),
        6: .data(content(6)), 8: .data(content(8)),
      ]
      if version == 3 {
        builder.clusters[5] = .zero
        builder.clusters[7] = .zeroAt(content(7))
      }
      builder.order = builder.clusters.keys.sorted().shuffled(using: &random)
      let image = try OpenedImage(builder.file.storage())
      let expected = builder.content()
      if clusterBits <= 16 { #expect(try image.all == expected) }
      for round in 0..<20 {
        let start =
          round < 9 ? round * unit : Int.random(in: 0...expected.count, using: &random)
        let count = Int.random(in: 0...min(5000, expected.count - start), using: &random)
        #expect(try image.bytes(start, count) == Array(expected[start..<start + count]))
      }
    }
  }

  /// Clusters that follow each other in the file are one extent, as far as one asks.
  @Test func neighboursAreOneExtent() throws {
    var builder = QCOW2Builder(size: 1 << 20)
    builder.clusterBits = 12
    for index in 0..<100 { builder.clusters[index] = .data([UInt8(index)]) }
    for index in 110..<120 { builder.clusters[index] = .zero }
    for index in 120..<140 { builder.clusters[index] = .data([UInt8(index)]) }
    let image = try OpenedImage(MemoryStorage(builder.file.bytes, path: "disk.qcow2"))
    let layer = image.disk.layers[0]
    let answer = try layer.extent(at: DiskOffset(4100), limit: 1 << 20)
    #expect(answer.length == 100 * 4096 - 4100)
    #expect(try layer.extent(at: DiskOffset(4100), limit: 1).length == 4096 - 4)
    #expect(try image.map.count == 4)
    #expect(try image.all == builder.content())
  }

  /// 1,000 tables that are not there are one extent, and so are those of a whole page.
  @Test func unallocatedTablesAreOneExtent() throws {
    let builder = QCOW2Builder(size: 4 << 40)
    let image = try OpenedImage(builder)
    #expect(try image.map == ["0+\(4 << 40 as UInt64) zero"])
    #expect(
      try image.disk.layers[0].extent(at: .start, limit: .max).length == 4 << 40)
    #expect(image.disk.whole.allocatedBytes() == 0)
  }

  @Test func subclusters() throws {
    for bits in [14, 16, 18] {
      var random = SeededRandom(seed: UInt64(bits))
      var builder = QCOW2Builder(size: UInt64(bits == 18 ? 8 : 20) << UInt64(bits))
      builder.clusterBits = bits
      builder.hasSubclusters = true
      builder.clusters = [
        0: .data(ImageBytes.pattern(1 << bits, seed: 0)), 1: .zero,
        2: .subclusters(ImageBytes.pattern(1 << bits, seed: 2), allocated: 1, zeros: 0),
        3: .subclusters(
          ImageBytes.pattern(1 << bits, seed: 3), allocated: 1 << 31, zeros: 0x7FFF_FFFF),
        4: .zeroAt(ImageBytes.pattern(1 << bits, seed: 4)),
        5: .compressed(
          CompressedBytes.deflate(ImageBytes.pattern(1 << bits, seed: 5)),
          ImageBytes.pattern(1 << bits, seed: 5)),
      ]
      for index in 6..<(bits == 18 ? 8 : 18) {
        let allocated = UInt32.random(in: 0 ... .max, using: &random)
        builder.clusters[index] = .subclusters(
          ImageBytes.pattern(1 << bits, seed: UInt64(index)), allocated: allocated,
          zeros: UInt32.random(in: 0 ... .max, using: &random) & ~allocated)
      }
      let image = try OpenedImage(builder.file.storage())
      let expected = builder.content()
      #expect(try image.all == expected)
      for _ in 0..<50 {
        let start = Int.random(in: 0...expected.count, using: &random)
        let count = Int.random(in: 0...min(9000, expected.count - start), using: &random)
        #expect(try image.bytes(start, count) == Array(expected[start..<start + count]))
      }
    }
  }

  @Test func subclustersJoinAcrossClusters() throws {
    var builder = QCOW2Builder(size: 8 << 16)
    builder.hasSubclusters = true
    let content = ImageBytes.pattern(65536, seed: 1)
    builder.clusters = [
      0: .subclusters(content, allocated: 0xFF00_0000, zeros: 0x00FF_FFFF), 1: .data(content),
      2: .subclusters(content, allocated: 1, zeros: 0xFFFF_FFFE), 3: .zero,
    ]
    // Header, refcounts, L1, L2: clusters from 5 on.
    #expect(
      try OpenedImage(MemoryStorage(builder.file.bytes, path: "disk.qcow2")).map == [
        "0+49152 zero", "49152+83968 376832", "133120+391168 zero",
      ])
  }

  /// The rest of a cluster in which the file ends is zeros: QEMU leaves it away.
  @Test func aClusterInWhichTheFileEnds() throws {
    var builder = QCOW2Builder(size: 5 << 16)
    let content = ImageBytes.pattern(65536, seed: 1)
    builder.clusters = [0: .data(content), 1: .data(content), 3: .data(content)]
    let file = builder.file
    for cut in [1, 512, 65535] {
      let image = try OpenedImage(
        MemoryStorage(Array(file.bytes.dropLast(cut)), path: "disk.qcow2"))
      var expected = ImageBytes(builder.content())
      expected.put([UInt8](repeating: 0, count: cut), at: 4 * 65536 - cut)
      #expect(try image.all == expected.bytes)
    }
    let image = try OpenedImage(
      MemoryStorage(Array(file.bytes.dropLast(65536)), path: "disk.qcow2"))
    let error = #expect(throws: DiskError.self) { try image.bytes(3 << 16, 1) }
    #expect(error?.kind == .truncated && error?.offset == file.size - 65536)
    #expect(try image.bytes(0, 3 << 16) == Array(builder.content()[..<(3 << 16)]))
  }

  @Test func compressedDataThatEndsWithTheFile() throws {
    var builder = QCOW2Builder(size: 1 << 16)
    let content = ImageBytes.pattern(65536, seed: 1)
    builder.clusters = [0: .compressed(CompressedBytes.deflate(content), content)]
    let file = builder.file
    let end = 5 * 65536 + 65536 + 10
    let image = try OpenedImage(
      MemoryStorage(Array(file.bytes[..<end]), path: "disk.qcow2"))
    #expect(try image.all == content)
    let short = try OpenedImage(
      MemoryStorage(Array(file.bytes[..<(end - 1)]), path: "disk.qcow2"))
    let error = #expect(throws: DiskError.self) { try short.all }
    #expect(error?.kind == .malformed && error?.offset == 5 * 65536)
    #expect(
      error?.message == "a compressed cluster is damaged: it does not give 65536 bytes")
  }

  @Test func snapshots() throws {
    var builder = QCOW2Builder(size: 4 << 16)
    builder.clusters = [0: .data([1]), 2: .data([2])]
    builder.snapshots = [
      .init("1", "before", size: 2 << 16, [0: .data([3])]), .init("7", "", size: 4 << 16, [:]),
      .init("9", String(repeating: "n", count: 3000), size: 5 << 16, [4: .data([4]), 1: .zero]),
    ]
    builder.snapshots[1].extraData = 0
    builder.snapshots[2].extraData = 1024
    let image = try OpenedImage(builder.file.storage())
    #expect(try image.all == builder.content())
    let snapshots = image.parsed.snapshots
    #expect(snapshots.map(\.identifier) == ["1", "7", "9"])
    #expect(snapshots.map(\.name) == builder.snapshots.map(\.name))
    #expect(snapshots.allSatisfy { $0.created == 1_600_000_000 })
    for (snapshot, made) in zip(snapshots, builder.snapshots) {
      let layer = try snapshot.open()
      #expect(layer.size == made.size)
      #expect(layer.description.details.last?.name == "snapshot")
      let disk = try Disk(layers: [layer])
      #expect(
        try disk.whole.bytes(at: .start, count: Int(disk.size))
          == builder.content(made.clusters, size: made.size))
    }
  }

  @Test func dataFiles() throws {
    try HostTools.withFolder { folder in
      var builder = QCOW2Builder(size: 4 << 16)
      builder.dataFile = "disk.raw"
      builder.autoclear = 2
      builder.clusters = [0: .data([]), 2: .data([]), 3: .zero]
      let content = ImageBytes.pattern(3 << 16, seed: 5)
      try HostTools.write(builder.file.bytes, to: "\(folder)/disk.qcow2")
      try HostTools.write(content, to: "\(folder)/disk.raw")
      let image = try OpenImage(path: "\(folder)/disk.qcow2")
      var expected = ImageBytes(content)
      expected.put([UInt8](repeating: 0, count: 65536), at: 65536)
      expected.grow(to: 4 << 16)
      #expect(try image.disk.whole.bytes(at: .start, count: 4 << 16) == expected.bytes)
      #expect(
        image.disk.files.map(\.path) == ["\(folder)/disk.qcow2", "\(folder)/disk.raw"])
      #expect(
        image.disk.layers[0].description.details.suffix(2).map { "\($0.name): \($0.value)" } == [
          "data file: disk.raw", "data file raw: yes",
        ])
    }
  }

  @Test func fitsByContentAlone() throws {
    let head: [UInt8] = [0x51, 0x46, 0x49, 0xFB, 0, 0, 0]
    for (bytes, fits) in [
      (head + [2], true), (head + [3], true), (head + [4], true), (head + [1], false),
      (head, false), ([0] + head.dropFirst() + [2], false),
    ] {
      #expect(QCOW2Format().fits(try ImageSample(of: MemoryStorage(bytes))) == fits)
    }
  }
}

extension OpenedImage {
  init(_ builder: QCOW2Builder) throws(DiskError) { try self.init(builder.file.storage()) }
}
