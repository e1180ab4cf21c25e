import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VHDXFuzzTests {
  private static let iterations = Soak.rounds(80)

  private static let headers = [65536, 131_072]
  private static let regions = [196_608, 262_144]

  private static func builder(_ differencing: Bool) -> VHDXBuilder {
    var builder = VHDXBuilder(size: 5 << 20)
    builder.blocks = [0: [1], 2: [2], 4: [3]]
    if differencing {
      builder.hasParent = true
      builder.ownedSectors = [0: [0], 4: [1, 5]]
      builder.locator = [("parent_linkage", "{x}"), ("relative_path", ".\\p.vhdx")]
    }
    return builder
  }

  @Test(arguments: [false, true], [false, true])
  func overwritten(_ differencing: Bool, _ sealed: Bool) throws {
    let builder = Self.builder(differencing)
    let bytes = builder.file.bytes
    let table = Int(VHDXBuilder.tableOffset)
    let metadata = Int(VHDXBuilder.metadataOffset)
    // The bitmap is the file's last block.
    var fields =
      Array(metadata..<metadata + 224) + Array(metadata + 65536..<metadata + 65536 + 160)
      + Array(table..<table + 40) + Array(bytes.count - 1 << 20..<bytes.count - 1 << 20 + 4)
    for start in Self.headers { fields += Array(start..<start + 80) }
    for start in Self.regions { fields += Array(start..<start + 80) }
    if differencing {
      let entry = builder.tableIndex(ofBitmap: 0) * 8
      fields += Array(table + entry..<table + entry + 8)
    }
    var random = SeededRandom(seed: (differencing ? 2 : 0) + (sealed ? 1 : 0))
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      if sealed { seal(&image, bytes) }
      let isCut = Int.random(in: 0..<8, using: &random) == 0
      let kept = isCut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      if try FuzzedImage.survives(Array(image.bytes.prefix(kept)), as: VHDXFormat(), &random) {
        opened += 1
      }
    }
    // Else nothing but the first check was tested.
    #expect(opened > Self.iterations / 10)
  }

  /// Makes the checksums right again, so that the damage behind them is reached.
  private func seal(_ image: inout ImageBytes, _ original: [UInt8]) {
    for (starts, length) in [(Self.headers, 4096), (Self.regions, 65536)] {
      for start in starts
      where image.bytes[start..<start + length] != original[start..<start + length] {
        VHDXBuilder.seal(&image, of: start..<start + length)
      }
    }
  }
}
