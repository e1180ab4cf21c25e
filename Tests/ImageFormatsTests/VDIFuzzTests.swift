import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VDIFuzzTests {
  private static let iterations = Soak.rounds(1500)

  @Test(arguments: [VDIBuilder.ImageType.dynamic, .fixed, .differencing])
  func overwritten(_ type: VDIBuilder.ImageType) throws {
    var builder = VDIBuilder(type, size: 10_240)
    builder.blockSize = 1024
    builder.blocks = [0: [1], 3: [2], 9: [3]]
    builder.zeroBlocks = [4]
    let bytes = builder.file.bytes
    let fields = Array(64..<84) + Array(340..<456) + Array(512..<552)
    var random = SeededRandom(seed: UInt64(type.rawValue))
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: VDIFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }
}
