import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// VHDs that qemu-img makes, and what qemu-img makes of ours.
@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct VHDToolTests {
  /// 10 MiB and a bit, with data in a few places.
  private static let size: UInt64 = 10_500_096

  private static func makeRaw(_ path: String) throws {
    try HostTools.makeFile(path, size: size)
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    for (offset, count) in [(0, 5000), (3 << 20, 70_000), (Int(size) - 700, 700)] {
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: Data(ImageBytes.pattern(count, seed: UInt64(offset))))
    }
    try file.close()
  }

  private func bytes(_ image: OpenImage) throws -> Data {
    var data = Data()
    try image.disk.whole.stream { piece in
      piece.withUnsafeBytes { data.append(contentsOf: $0) }
    }
    return data
  }

  @Test(arguments: ["fixed", "dynamic"], ["on", "off"])
  func converted(_ subformat: String, _ forceSize: String) throws {
    try HostTools.withFolder { folder in
      try Self.makeRaw("\(folder)/in.raw")
      try HostTools.run(
        "qemu-img",
        [
          "convert", "-f", "raw", "-O", "vpc", "-o",
          "subformat=\(subformat),force_size=\(forceSize)", "\(folder)/in.raw", "\(folder)/x.vhd",
        ])
      let image = try OpenImage(path: "\(folder)/x.vhd")
      #expect(image.disk.layers[0].description.subformat == subformat)
      #expect(image.notes.isEmpty)
      try HostTools.run(
        "qemu-img",
        ["convert", "-f", "vpc", "-O", "raw", "\(folder)/x.vhd", "\(folder)/out.raw"])
      let expected = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/out.raw"))
      // Without force_size it is rounded up to whole cylinders.
      #expect(forceSize == "on" ? expected.count == Self.size : expected.count > Self.size)
      #expect(try bytes(image) == expected)
    }
  }

  @Test(arguments: ["fixed", "dynamic"], [512, 1 << 20, 2_147_483_648] as [UInt64])
  func created(_ subformat: String, _ size: UInt64) throws {
    try HostTools.withFolder { folder in
      try HostTools.run(
        "qemu-img",
        [
          "create", "-f", "vpc", "-o", "subformat=\(subformat),force_size=on",
          "\(folder)/x.vhd", "\(size)",
        ])
      let image = try OpenImage(path: "\(folder)/x.vhd")
      #expect(image.disk.size == size && image.notes.isEmpty)
      #expect(
        try image.disk.whole.bytes(at: .start, count: 512) == [UInt8](repeating: 0, count: 512))
      // qemu-img allocates a fixed disk's first page; its last one also holds the footer.
      #expect(image.disk.whole.allocatedBytes() <= (subformat == "fixed" ? 8192 : 0))
    }
  }

  /// Images of the builder, which both must read alike. Blocks under 4 KiB are left out: qemu-img
  /// 7.2 takes their bitmaps for 0 bytes long (block_size / 4096, rounded down).
  @Test(arguments: [4096, 65536, 2 << 20] as [UInt32]) func built(_ blockSize: UInt32) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(blockSize))
      let blocks = 9
      var builder = VHDBuilder(.dynamic, size: UInt64(blocks) * UInt64(blockSize) - 512)
      builder.blockSize = blockSize
      for index in [0, 3, 4, 8] {
        builder.blocks[index] = ImageBytes.pattern(
          min(Int(blockSize), 4000), seed: UInt64(index))
      }
      builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
      try HostTools.write(builder.file.bytes, to: "\(folder)/x.vhd")
      try HostTools.run(
        "qemu-img",
        ["convert", "-f", "vpc", "-O", "raw", "\(folder)/x.vhd", "\(folder)/out.raw"])
      let expected = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/out.raw"))
      #expect(try bytes(OpenImage(path: "\(folder)/x.vhd")) == expected)
      #expect(Array(expected) == builder.content(0..<Int(builder.size)))
    }
  }
}
