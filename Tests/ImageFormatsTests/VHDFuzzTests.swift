import DiskCore
import ImageFormats
import TestSupport
import Testing

/// Valid VHDs with bytes overwritten at random: whatever comes of it, it is bytes or a `DiskError`.
/// A trap ends the test run.
@Suite struct VHDFuzzTests {
  private static let iterations = Soak.rounds(1500)

  private static func seedImage(_ type: VHDBuilder.DiskType) -> (bytes: [UInt8], fields: [Int]) {
    var builder = VHDBuilder(type, size: 10_240)
    builder.blockSize = type == .fixed ? 10_240 : 1024
    builder.blocks = type == .fixed ? [0: [1, 2, 3]] : [0: [1], 3: [2], 9: [3]]
    let bytes = builder.file.bytes
    let footer = bytes.count - 512
    // Where the numbers are: a byte elsewhere is content, and says little.
    var fields = Array(footer..<footer + 86)
    if type != .fixed {
      fields += Array(0..<86) + Array(512..<512 + 64) + Array(1536..<1536 + 40)
    }
    return (bytes, fields)
  }

  private static let values: [UInt8] = [0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF]

  @Test(arguments: [VHDBuilder.DiskType.fixed, .dynamic, .differencing], [false, true])
  func overwritten(_ type: VHDBuilder.DiskType, _ sealed: Bool) throws {
    let (bytes, fields) = Self.seedImage(type)
    var random = SeededRandom(seed: UInt64(type.rawValue) * 2 + (sealed ? 1 : 0))
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = fields.randomElement(using: &random) ?? 0
        // Whole fields too: 2³² − 1 is not reached a byte at a time.
        let width = [1, 1, 2, 4, 8].randomElement(using: &random) ?? 1
        let value = Self.values.randomElement(using: &random) ?? 0
        let byte = Bool.random(using: &random) ? value : UInt8.random(in: 0...255, using: &random)
        image.put([UInt8](repeating: byte, count: min(width, image.count - place)), at: place)
      }
      if sealed { seal(&image, type) }
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      if try survives(Array(image.bytes.prefix(kept)), &random) { opened += 1 }
    }
    // Else nothing but the first check was tested.
    if type != .differencing { #expect(opened > Self.iterations / 10) }
  }

  /// Makes the checksums right again, so that the damage behind them is reached.
  private func seal(_ image: inout ImageBytes, _ type: VHDBuilder.DiskType) {
    let footer = image.count - 512
    for start in type == .fixed ? [footer] : [0, footer] {
      VHDBuilder.seal(&image, at: start + 64, of: start..<start + 512)
    }
    if type != .fixed { VHDBuilder.seal(&image, at: 512 + 36, of: 512..<1536) }
  }

  /// Opens the image and looks at all of it that time allows; whether it could be opened.
  private func survives(_ bytes: [UInt8], _ random: inout SeededRandom) throws -> Bool {
    let storage = MemoryStorage(bytes, path: "fuzzed.vhd")
    do throws(DiskError) {
      let probe = FormatProbe(try ImageSample(of: storage))
      _ = probe.warning
      let layer = try VHDFormat().open(storage)
      _ = layer.description
      let window = try Disk(layers: [layer]).whole
      var places = [DiskOffset.start, DiskOffset(window.size - min(window.size, 4096))]
      var place = DiskOffset.start
      while place.bytes < window.size, places.count < 40 {
        let entry = try window.mapEntry(at: place)
        #expect(entry.length > 0 && entry.length <= window.size - place.bytes)
        places.append(place)
        place = place + entry.length
      }
      for place in places {
        let count = Int(min(window.size - place.bytes, 4096))
        _ = try? window.bytes(at: place, count: count)
      }
      return true
    } catch {
      #expect(error.path == "fuzzed.vhd")
      return false
    }
  }
}
