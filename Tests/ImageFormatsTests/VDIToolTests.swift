import ImageFormats
import TestSupport
import Testing

@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct VDIToolTests {
  /// qemu-img rounds sizes up to sectors itself.
  @Test(arguments: ["on", "off"], [10 << 20, 10_500_096, 1_000_448])
  func converted(_ isStatic: String, _ size: Int) throws {
    try HostTools.withFolder { folder in
      try QEMU.makeRaw("\(folder)/in.raw", size: size)
      try HostTools.run(
        "qemu-img",
        [
          "convert", "-f", "raw", "-O", "vdi", "-o", "static=\(isStatic)", "\(folder)/in.raw",
          "\(folder)/x.vdi",
        ])
      let image = try OpenImage(path: "\(folder)/x.vdi")
      #expect(
        image.disk.layers[0].description.subformat == (isStatic == "on" ? "fixed" : "dynamic"))
      #expect(image.notes.isEmpty)
      #expect(image.disk.size == UInt64(size))
      #expect(try image.content == QEMU.raw("\(folder)/x.vdi", "vdi"))
    }
  }

  @Test(arguments: ["on", "off"]) func created(_ isStatic: String) throws {
    try HostTools.withFolder { folder in
      try HostTools.run(
        "qemu-img",
        ["create", "-f", "vdi", "-o", "static=\(isStatic)", "\(folder)/x.vdi", "3000000"])
      let image = try OpenImage(path: "\(folder)/x.vdi")
      #expect(try image.content == QEMU.raw("\(folder)/x.vdi", "vdi"))
    }
  }

  /// Images of the builder, which both must read alike; qemu-img reads blocks of 1 MiB only.
  @Test func built() throws {
    try HostTools.withFolder { folder in
      for seed in 0..<3 as Range<UInt64> {
        var random = SeededRandom(seed: seed)
        var builder = VDIBuilder(.dynamic, size: 9 << 20 - 512)
        for index in [0, 1, 3, 4, 8] {
          builder.blocks[index] = ImageBytes.pattern(4000, seed: UInt64(index))
        }
        builder.zeroBlocks = [2, 6]
        builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
        try HostTools.write(builder.file.bytes, to: "\(folder)/x.vdi")
        let expected = try QEMU.raw("\(folder)/x.vdi", "vdi")
        #expect(try OpenImage(path: "\(folder)/x.vdi").content == expected)
        #expect(expected == builder.content())
      }
    }
  }
}
