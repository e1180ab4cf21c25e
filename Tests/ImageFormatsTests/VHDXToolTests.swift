import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// VHDXs that qemu-img makes, and what qemu-img makes of ours.
@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct VHDXToolTests {
  private func bytes(_ path: String) throws -> Data {
    var data = Data()
    try OpenImage(path: path).disk.whole.stream { piece in
      piece.withUnsafeBytes { data.append(contentsOf: $0) }
    }
    return data
  }

  private func asQEMUReads(_ path: String) throws -> Data {
    try HostTools.run("qemu-img", ["convert", "-f", "vhdx", "-O", "raw", path, "\(path).raw"])
    return try Data(contentsOf: URL(fileURLWithPath: "\(path).raw"))
  }

  @Test(arguments: ["fixed", "dynamic"], ["1M", "16M"])
  func converted(_ subformat: String, _ blockSize: String) throws {
    try HostTools.withFolder { folder in
      // Not a multiple of the block.
      let size: UInt64 = 10_500_096
      try HostTools.makeFile("\(folder)/in.raw", size: size)
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(folder)/in.raw"))
      for (offset, count) in [(0, 5000), (3 << 20, 70_000), (Int(size) - 700, 700)] {
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: Data(ImageBytes.pattern(count, seed: UInt64(offset))))
      }
      try file.close()
      try HostTools.run(
        "qemu-img",
        [
          "convert", "-f", "raw", "-O", "vhdx", "-o",
          "subformat=\(subformat),block_size=\(blockSize)", "\(folder)/in.raw",
          "\(folder)/x.vhdx",
        ])
      let image = try OpenImage(path: "\(folder)/x.vhdx")
      // qemu-img does not set LeaveBlocksAllocated, which is what makes a disk a fixed one.
      #expect(["dynamic", subformat].contains(image.disk.layers[0].description.subformat))
      #expect(image.notes.isEmpty)
      let expected = try asQEMUReads("\(folder)/x.vhdx")
      #expect(expected.count == Int(image.disk.size))
      #expect(try bytes("\(folder)/x.vhdx") == expected)
    }
  }

  @Test(arguments: ["fixed", "dynamic"], [512, 1 << 20, 33_554_432 + 512] as [UInt64])
  func created(_ subformat: String, _ size: UInt64) throws {
    try HostTools.withFolder { folder in
      try HostTools.run(
        "qemu-img",
        ["create", "-f", "vhdx", "-o", "subformat=\(subformat)", "\(folder)/x.vhdx", "\(size)"])
      let image = try OpenImage(path: "\(folder)/x.vhdx")
      #expect(image.disk.size >= size && image.notes.isEmpty)
      #expect(
        try image.disk.whole.bytes(at: .start, count: 512) == [UInt8](repeating: 0, count: 512))
    }
  }

  /// qemu-img 7.2 has sectors of 512 bytes only.
  @Test(arguments: [1, 2, 16] as [UInt32]) func built(_ mebibytes: UInt32) throws {
    try HostTools.withFolder { folder in
      var random = SeededRandom(seed: UInt64(mebibytes))
      var builder = VHDXBuilder(size: UInt64(9 * mebibytes) << 20 - 512)
      builder.blockSize = mebibytes << 20
      builder.states = [1: .zero, 2: .unmapped, 5: .undefined]
      for block in [0, 3, 4, 8] {
        builder.blocks[block] = ImageBytes.pattern(4000, seed: UInt64(block))
      }
      builder.order = builder.blocks.keys.sorted().shuffled(using: &random)
      let path = "\(folder)/x.vhdx"
      try HostTools.write(builder.file.bytes, to: path)
      let expected = try asQEMUReads(path)
      #expect(try bytes(path) == expected)
      #expect(Array(expected) == builder.content())
    }
  }
}
