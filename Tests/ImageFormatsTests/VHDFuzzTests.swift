import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VHDFuzzTests {
  private static let iterations = Soak.rounds(1500)

  private static func seedImage(_ type: VHDBuilder.DiskType) -> (bytes: [UInt8], fields: [Int]) {
    var builder = VHDBuilder(type, size: 10_240)
    builder.blockSize = type == .fixed ? 10_240 : 1024
    builder.blocks = type == .fixed ? [0: [1, 2, 3]] : [0: [1], 3: [2], 9: [3]]
    if type == .differencing {
      builder.ownedSectors = [0: [0], 3: [1], 9: [0, 1]]
      builder.parent = (Array(0xB0...0xBF), 1, "parent.vhd")
      builder.locators = [("W2ru", VHDBuilder.utf16(".\\parent.vhd"))]
    }
    let bytes = builder.file.bytes
    let footer = bytes.count - 512
    // Where the numbers are: a byte elsewhere is content, and says little.
    var fields = Array(footer..<footer + 86)
    if type != .fixed {
      fields += Array(0..<86) + Array(512..<512 + 64) + Array(1536..<1536 + 40)
    }
    if type == .differencing {
      // The first locator, what it leads to, and the first block's bitmap.
      fields += Array(512 + 576..<512 + 600) + Array(2048..<2080) + Array(2560..<2564)
    }
    return (bytes, fields)
  }

  @Test(arguments: [VHDBuilder.DiskType.fixed, .dynamic, .differencing], [false, true])
  func overwritten(_ type: VHDBuilder.DiskType, _ sealed: Bool) throws {
    let (bytes, fields) = Self.seedImage(type)
    var random = SeededRandom(seed: UInt64(type.rawValue) * 2 + (sealed ? 1 : 0))
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      if sealed { seal(&image, type) }
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: VHDFormat(), &random) { opened += 1 }
    }
    // Else nothing but the first check was tested.
    #expect(opened > Self.iterations / 10)
  }

  /// Makes the checksums right again, so that the damage behind them is reached.
  private func seal(_ image: inout ImageBytes, _ type: VHDBuilder.DiskType) {
    let footer = image.count - 512
    for start in type == .fixed ? [footer] : [0, footer] {
      VHDBuilder.seal(&image, at: start + 64, of: start..<start + 512)
    }
    if type != .fixed { VHDBuilder.seal(&image, at: 512 + 36, of: 512..<1536) }
  }
}
