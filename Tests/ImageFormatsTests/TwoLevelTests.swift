import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// QCOW (version 1) and QED.
@Suite struct TwoLevelTests {
  private func open(_ builder: TwoLevelBuilder) throws(DiskError) -> OpenedImage {
    try OpenedImage(builder.storage())
  }

  /// Every byte of a small image of each, written down by hand.
  @Test func qcowByHand() throws {
    var image = ImageBytes(count: 5 * 512)
    image.put([0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1], at: 0)
    image.put([0, 0, 0, 0, 0, 0, 0x06, 0x40], at: 24)  // 1,600 bytes
    image.put([9, 6], at: 32)  // clusters of 512 bytes, 64 in a table
    image.put([0, 0, 0, 0, 0, 0, 0, 48], at: 40)  // the table behind the header
    image.put([0, 0, 0, 0, 0, 0, 0x02, 0], at: 48)  // a second one at 512
    image.put([0, 0, 0, 0, 0, 0, 0x06, 0], at: 512 + 8)  // cluster 1 at 1,536
    image.put([0, 0, 0, 0, 0, 0, 0x04, 0], at: 512 + 24)  // cluster 3 at 1,024
    // Cluster 2 compressed: 9 bits of length from bit 54 on, 8 bytes at 2,050.
    image.put([0x82, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x02], at: 512 + 16)
    image.put([UInt8](repeating: 1, count: 512), at: 1536)
    image.put([UInt8](repeating: 3, count: 512), at: 1024)
    // 512 times 'a', as zlib 1.2.13 deflates it with a window of 4 KiB.
    image.put([0x4B, 0x4C, 0x1C, 0x05, 0x23, 0x19, 0x00, 0x00], at: 2050)
    let opened = try OpenedImage(MemoryStorage(image.bytes, path: "disk.img"))
    #expect(opened.disk.size == 1600 && opened.notes.isEmpty)
    #expect(try opened.bytes(0, 512) == [UInt8](repeating: 0, count: 512))
    #expect(try opened.bytes(512, 512) == [UInt8](repeating: 1, count: 512))
    #expect(try opened.bytes(1024, 512) == [UInt8](repeating: 0x61, count: 512))
    #expect(try opened.bytes(1536, 64) == [UInt8](repeating: 3, count: 64))
    let description = opened.disk.layers[0].description
    #expect(description.format == "qcow" && description.subformat == "v1")
    #expect(description.details.map { "\($0.name): \($0.value)" } == ["cluster size: 512"])
  }

  @Test func qedByHand() throws {
    var image = ImageBytes(count: 5 * 4096)
    image.put(Array("QED\0".utf8), at: 0)
    image.put([0, 0x10, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], at: 4)
    image.put([0, 0x10], at: 40)  // L1 at 4,096
    image.put([0x00, 0x32], at: 48)  // 12,800 bytes
    image.put([0, 0x20], at: 4096)  // L2 at 8,192
    image.put([0, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], at: 8192)
    image.put([0, 0x30], at: 8192 + 24)
    image.put([UInt8](repeating: 9, count: 4096), at: 16384)
    image.put([UInt8](repeating: 8, count: 4096), at: 12288)
    let opened = try OpenedImage(MemoryStorage(image.bytes, path: "disk.img"))
    #expect(opened.disk.size == 12_800 && opened.notes.isEmpty)
    #expect(
      try opened.all
        == [UInt8](repeating: 9, count: 4096) + [UInt8](repeating: 0, count: 8192)
        + [UInt8](repeating: 8, count: 512))
    #expect(try opened.map == ["0+4096 16384", "4096+8192 zero", "12288+512 12288"])
    let description = opened.disk.layers[0].description
    #expect(description.format == "qed")
    #expect(
      description.details.map { "\($0.name): \($0.value)" } == [
        "cluster size: 4096", "table size: 4096",
      ])
  }

  @Test(arguments: [TwoLevelBuilder.Format.qcow, .qed], [9, 12, 13, 16])
  func everyClusterSize(_ format: TwoLevelBuilder.Format, _ bits: Int) throws {
    guard format == .qcow || bits >= 12 else { return }
    for tables in [6, 9, 13] {
      var random = SeededRandom(seed: UInt64(bits * 100 + tables))
      let clusters = 70
      var builder = TwoLevelBuilder(format, size: UInt64(clusters << bits) - 700)
      builder.clusterBits = bits
      builder.tableBits = tables
      builder.tableSize = tables == 6 ? 1 : tables == 9 ? 2 : 16
      for index in 0..<clusters {
        var content = ImageBytes(ImageBytes.pattern(bits == 9 ? 100 : 300, seed: UInt64(index)))
        content.grow(to: 1 << bits)
        switch Int.random(in: 0..<5, using: &random) {
        case 0, 1: builder.clusters[index] = .data(content.bytes)
        case 2 where format == .qed: builder.clusters[index] = .zero
        case 2 where bits < 16:
          // Shorter than the cluster, so that its length fits in the descriptor.
          let stream = CompressedBytes.deflate(
            content.bytes, zerosAfter: bits == 9 ? 100 : 300)
          builder.clusters[index] = .compressed(stream, content.bytes)
        default: break
        }
      }
      builder.order = builder.clusters.keys.sorted().shuffled(using: &random)
      let image = try open(builder)
      let expected = builder.content()
      #expect(try image.all == expected)
      for _ in 0..<20 {
        let start = Int.random(in: 0...expected.count, using: &random)
        let count = Int.random(in: 0...min(9000, expected.count - start), using: &random)
        #expect(try image.bytes(start, count) == Array(expected[start..<start + count]))
      }
    }
  }

  @Test func aLargeDisk() throws {
    for format in [TwoLevelBuilder.Format.qcow, .qed] {
      var builder = TwoLevelBuilder(format, size: 1 << 40)
      builder.clusterBits = 16
      builder.tableBits = 13
      builder.tableSize = 4
      builder.clusters = [(1 << 24) - 1: .data([7])]
      let image = try open(builder)
      #expect(try image.bytes((1 << 40) - 65536, 2) == [7, 0])
      #expect(try image.disk.whole.nextData(from: .start)?.bytes == (1 << 40) - 65536)
    }
  }

  @Test func qedFeatures() throws {
    var builder = TwoLevelBuilder(.qed, size: 8192)
    builder.features = 2
    #expect(
      try open(builder).notes == [
        "it was not closed cleanly: its tables may be inconsistent ('qemu-img check' says more)"
      ])
    builder.features = 0x18
    let error = #expect(throws: DiskError.self) { try open(builder) }
    #expect(error?.kind == .unsupported && error?.offset == 16)
    #expect(error?.message.hasSuffix("(bits 18)") == true)
  }

  /// Chains of each depth, of both formats in turn.
  @Test(arguments: 1...5, [TwoLevelBuilder.Format.qcow, .qed]) func chains(
    _ depth: Int, _ lowest: TwoLevelBuilder.Format
  ) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(depth))
      var expected = ImageBytes.pattern(30_000, seed: 1)
      try HostTools.write(expected, to: "\(folder)/level0")
      for level in 1...depth {
        let format: TwoLevelBuilder.Format =
          (level % 2 == 0) == (lowest == .qcow) ? .qed : .qcow
        var builder = TwoLevelBuilder(
          format, size: UInt64(4096 * Int.random(in: 6...14, using: &random)))
        for index in 0..<Int(builder.size / 4096) {
          switch Int.random(in: 0..<3, using: &random) {
          case 0: builder.clusters[index] = .data(ImageBytes.pattern(4096, seed: random.next()))
          case 1 where format == .qed: builder.clusters[index] = .zero
          default: break
          }
        }
        builder.backing = "level\(level - 1)"
        // The lowest is raw: QED can say so.
        if format == .qed, level == 1 { builder.features = 4 }
        expected = builder.content(over: expected)
        try HostTools.write(builder.bytes, to: "\(folder)/level\(level)")
      }
      let image = try OpenImage(path: "\(folder)/level\(depth)")
      #expect(image.disk.layers.count == depth + 1)
      #expect(try image.disk.whole.bytes(at: .start, count: expected.count) == expected)
    }
  }

  @Test func backingFilesThatAreNotFiles() throws {
    try HostTools.withFolder { folder in
      for format in [TwoLevelBuilder.Format.qcow, .qed] {
        for name in ["nbd://x", "json:{}", "/etc/passwd", "disk"] {
          var builder = TwoLevelBuilder(format, size: 8192)
          builder.backing = name
          try HostTools.write(builder.bytes, to: "\(folder)/disk")
          let error = #expect(throws: DiskError.self) { try OpenImage(path: "\(folder)/disk") }
          #expect(error?.kind == (name == "disk" ? .malformed : .permissionDenied))
        }
      }
    }
  }
}
