import TestSupport
import Testing

@testable import FileSystems

/// FAT and exFAT volumes with bytes overwritten where they say something.
@Suite struct FATFuzzTests {
  private static let iterations = Soak.rounds(100)

  @Test(arguments: FATBuilder.Width.allCases)
  func overwrittenFAT(_ width: FATBuilder.Width) throws {
    var volume = FATBuilder(width)
    volume.fill([9, 10, 7, 150, 3, 199], with: ImageBytes.pattern(5 * 512 + 100, seed: 1))
    let short = volume.longName(
      Array("a name that takes three parts.".utf16), for: "ANAME~1    ", at: volume.root)
    volume.entry("ANAME~1    ", at: short, cluster: 9, size: 5 * 512 + 100)
    volume.entry("SUB        ", at: short + 32, attributes: FATBuilder.folder, cluster: 20)
    volume.chain([20, 25])
    let sub = volume.place(of: 20)
    volume.entry(".          ", at: sub, attributes: FATBuilder.folder, cluster: 20)
    volume.entry("..         ", at: sub + 32, attributes: FATBuilder.folder)
    for index in 2..<16 { volume.entry("INNER\(index + 10)    ", at: sub + index * 32, cluster: 9) }
    volume.entry("LAST       ", at: volume.place(of: 25), cluster: 10, size: 5)

    let bits = width == .fat32 ? 32 : width.rawValue
    let links = [0, 1, 2, 3, 7, 9, 10, 20, 25, 150, 199].map { volume.fat + $0 * bits / 8 }
    let entries = Array(volume.root..<short + 64) + Array(sub..<sub + 128)
    try fuzz(
      volume.image,
      fields: Array(0x0B..<0x34) + links + links.map { $0 + volume.fatLength } + entries,
      seed: UInt64(width.rawValue)
    ) { _, _ in }
  }

  /// Checksums are put right again, mostly: what they keep out would test nothing but them.
  @Test func overwrittenExFAT() throws {
    let volume = ExFATTests.sample()
    let root = volume.place(of: volume.rootCluster)
    let inner = volume.place(of: 80) + 512 - 64
    let links = [0, 1, 2, 3, 4, 5, 40, 50, 51, 60, 80, 90].map { volume.fat + $0 * 4 }
    try fuzz(
      volume.image,
      fields: Array(72..<112) + links + Array(root..<root + 512) + Array(inner..<inner + 64),
      seed: 5
    ) { image, random in
      guard Int.random(in: 0..<5, using: &random) > 0 else { return }
      for place in [
        volume.entries, volume.entries + 96, volume.entries + 192, volume.entries + 288,
      ] {
        let length = (Int(image.bytes[place + 1]) + 1) * 32
        guard place + length <= image.count else { continue }
        var sum: UInt16 = 0
        for (index, byte) in image.bytes[place..<place + length].enumerated()
        where index != 2 && index != 3 { sum = (sum >> 1 | sum << 15) &+ UInt16(byte) }
        image.putLittle(sum, at: place + 2)
      }
      var sum: UInt32 = 0
      for (index, byte) in image.bytes[..<(11 * 512)].enumerated()
      where ![106, 107, 112].contains(index) { sum = (sum >> 1 | sum << 31) &+ UInt32(byte) }
      for word in 0..<128 { image.putLittle(sum, at: 11 * 512 + word * 4) }
    }
  }

  private func fuzz(
    _ image: ImageBytes, fields: [Int], seed: UInt64,
    mending mend: (inout ImageBytes, inout SeededRandom) -> Void
  ) throws {
    var random = SeededRandom(seed: seed)
    var opened = 0
    for _ in 0..<Self.iterations {
      var damaged = image
      FuzzedVolume.overwrite(&damaged, fields: fields, &random)
      mend(&damaged, &random)
      if try FuzzedVolume.survives(FuzzedVolume.cut(damaged, &random)) { opened += 1 }
    }
    #expect(opened > Self.iterations / 4, "\(opened)")
  }
}
