import DiskCore
import ImageFormats
import TestSupport
import Testing

@Suite struct VMDKFuzzTests {
  private static let iterations = Soak.rounds(1500)

  enum Kind: CaseIterable { case hosted, stream, copyOnWrite, spaceEfficient, descriptor }

  /// A valid image and the places of its numbers.
  private static func seedImage(_ kind: Kind) -> (bytes: [UInt8], fields: [Int]) {
    switch kind {
    case .hosted, .stream:
      var builder = VMDKBuilder.monolithic(capacity: 100)
      builder.entriesPerTable = 8
      builder.grains = [0: .data([1]), 1: .data([2]), 5: .zero, 9: .data([3]), 12: .data([4])]
      if kind == .stream { builder.stream = .footer }
      let bytes = builder.file.bytes
      let header = Array(0..<80)
      let text = Array(512..<512 + 160)
      if kind == .hosted {
        let tables = builder.redundantDirectorySector * 512..<builder.overheadSectors * 512
        return (bytes, header + text + tables.filter { $0 % 512 < 64 })
      }
      let grains = 21 * 512
      let end = bytes.count - 9 * 512..<bytes.count
      return (bytes, header + text + Array(grains..<grains + 30) + end.filter { $0 % 512 < 80 })
    case .copyOnWrite:
      var builder = VMDKCopyOnWriteBuilder(capacity: 4200)
      builder.grains = [
        0: [UInt8](repeating: 1, count: 512), 4199: [UInt8](repeating: 2, count: 512),
      ]
      return (
        builder.file.bytes,
        Array(0..<32) + Array(2048..<2056) + Array(5 * 512..<5 * 512 + 16)
      )
    case .spaceEfficient:
      var builder = VMDKSpaceEfficientBuilder(capacity: 100)
      builder.grains = [0: .data([1]), 1: .zero, 2: .unmapped, 7: .data([2])]
      let tables = builder.tablesSector * 512
      let directory = VMDKSpaceEfficientBuilder.directory * 512
      return (
        builder.file.bytes,
        Array(0..<208) + Array(512..<544) + Array(directory..<directory + 8)
          + Array(tables..<tables + 64)
      )
    case .descriptor:
      let text = VMDKBuilder.text(
        "custom", parentCID: "12345678", hint: "x.vmdk",
        ["RW 4 ZERO", "NOACCESS 8 FLAT \"y\" 0", "RW 2 SPARSE \"fuzzed.img\""])
      return (Array(text.utf8), Array(0..<text.utf8.count))
    }
  }

  @Test(arguments: Kind.allCases) func overwritten(_ kind: Kind) throws {
    let (bytes, fields) = Self.seedImage(kind)
    var random = SeededRandom(seed: UInt64(fields.count))
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: VMDKFormat(), &random) { opened += 1 }
    }
    // Else nothing but the first check was tested.
    if kind != .descriptor { #expect(opened > Self.iterations / 20, "\(opened)") }
  }
}
