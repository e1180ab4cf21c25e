import Foundation
import ImageFormats
import TestSupport
import Testing

@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct ParallelsToolTests {
  @Test(arguments: ["65536", "1M", "4M"], [10 << 20, 10_500_096, 66_048])
  func converted(_ clusterSize: String, _ size: Int) throws {
    try HostTools.withFolder { folder in
      try QEMU.makeRaw("\(folder)/in.raw", size: size)
      try HostTools.run(
        "qemu-img",
        [
          "convert", "-f", "raw", "-O", "parallels", "-o", "cluster_size=\(clusterSize)",
          "\(folder)/in.raw", "\(folder)/x.hds",
        ])
      let image = try OpenImage(path: "\(folder)/x.hds")
      #expect(image.notes.isEmpty)
      #expect(try image.content == QEMU.raw("\(folder)/x.hds", "parallels"))
      // qemu-img rounds up to whole tracks.
      #expect(image.disk.size >= UInt64(size))
    }
  }

  @Test func created() throws {
    try HostTools.withFolder { folder in
      try HostTools.run(
        "qemu-img", ["create", "-f", "parallels", "\(folder)/x.hds", "3000000"])
      let image = try OpenImage(path: "\(folder)/x.hds")
      #expect(try image.content == QEMU.raw("\(folder)/x.hds", "parallels"))
    }
  }

  /// Images of the builder, which both must read alike; qemu-img makes none of the old kind.
  @Test(arguments: [false, true], [63, 128, 2048] as [UInt32])
  func built(_ isExtended: Bool, _ clusterSectors: UInt32) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(clusterSectors))
      var builder = ParallelsBuilder(
        extended: isExtended, sectors: UInt64(clusterSectors) * 9 - 5)
      builder.clusterSectors = clusterSectors
      for index in [0, 1, 3, 4, 8] {
        builder.clusters[index] = ImageBytes.pattern(
          index == 8 ? 4000 : builder.clusterSize, seed: UInt64(index))
      }
      builder.order = builder.clusters.keys.sorted().shuffled(using: &random)
      try HostTools.write(builder.file.bytes, to: "\(folder)/x.hds")
      let expected = try QEMU.raw("\(folder)/x.hds", "parallels")
      #expect(try OpenImage(path: "\(folder)/x.hds").content == expected)
      #expect(expected == builder.content())
    }
  }
}
