import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

/// VMDKs that qemu-img makes, and what qemu-img makes of ours.
@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct VMDKToolTests {
  static let subformats = [
    "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
    "streamOptimized",
  ]

  /// Data in a few places, among them both ends.
  private static func makeRaw(_ path: String, size: UInt64) throws {
    try HostTools.makeFile(path, size: size)
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    for (offset, count) in [(0, 5000), (3 << 20, 70_000), (Int(size) - 700, 700)] {
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: Data(ImageBytes.pattern(count, seed: UInt64(offset))))
    }
    // Something that compresses.
    try file.seek(toOffset: 5 << 20)
    try file.write(contentsOf: Data(repeating: 0x41, count: 200_000))
    try file.close()
  }

  private func same(_ image: OpenImage, as path: String) throws -> Bool {
    let expected = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    var isSame = true
    try image.disk.whole.stream { piece in
      let bytes = piece.withUnsafeBytes { Data($0) }
      // `stream` wants typed errors.
      isSame = isSame && (try? expected.read(upToCount: bytes.count)) == bytes
    }
    return try isSame && image.disk.size == expected.seekToEnd()
  }

  /// 10 MiB and 31 sectors: the last grain has 31 of 128 sectors.
  @Test(
    arguments: subformats,
    [
      "adapter_type=ide", "adapter_type=lsilogic", "adapter_type=buslogic",
      "adapter_type=legacyESX", "compat6=on", "zeroed_grain=on",
    ])
  func converted(_ subformat: String, _ option: String) throws {
    if option == "zeroed_grain=on", subformat.hasSuffix("Flat") { return }
    try HostTools.withFolder { folder in
      try Self.makeRaw("\(folder)/in.raw", size: (10 << 20) + 31 * 512)
      try HostTools.run(
        "qemu-img",
        [
          "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=\(subformat),\(option)",
          "\(folder)/in.raw", "\(folder)/x y.vmdk",
        ])
      let image = try OpenImage(path: "\(folder)/x y.vmdk")
      let description = image.disk.layers[0].description
      #expect(description.subformat == subformat && image.notes.isEmpty)
      if option.hasPrefix("adapter_type=") {
        #expect(
          description.details.contains { $0.name == "adapter" && option.hasSuffix($0.value) })
      }
      #expect(try same(image, as: "\(folder)/in.raw"))
    }
  }

  /// Two extents of 2 GiB and a bit of a third.
  @Test(arguments: ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
  func severalExtents(_ subformat: String) throws {
    try HostTools.withFolder { folder in
      let size: UInt64 = 4 << 30 + 1 << 20
      let path = "\(folder)/x.vmdk"
      try HostTools.run(
        "qemu-img", ["create", "-f", "vmdk", "-o", "subformat=\(subformat)", path, "\(size)"])
      // Over the seam of the first two extents, and at both ends.
      let places = [0, (2 << 30) - 1000, (4 << 30) - 70_000, Int(size) - 2000]
      for (number, place) in places.enumerated() {
        let bytes = ImageBytes.pattern(2000, seed: UInt64(number))
        try HostTools.write(bytes, to: "\(folder)/bytes")
        try HostTools.run(
          "qemu-io", ["-f", "vmdk", "-c", "write -s \(folder)/bytes \(place) 2000", path])
      }
      let image = try OpenImage(path: path)
      #expect(image.disk.size == size && image.notes.isEmpty)
      #expect(image.disk.layers[0].files.count == 4)
      for (number, place) in places.enumerated() {
        #expect(
          try image.disk.whole.bytes(at: DiskOffset(UInt64(place)), count: 2000)
            == ImageBytes.pattern(2000, seed: UInt64(number)))
      }
    }
  }

  /// Images of the builders, which both must read alike. QEMU wants 32 KiB of any extent's file, and
  /// knows no chain in which a size is no multiple of a grain.
  @Test(arguments: VMDKChainTests.Kind.allCases) func built(_ kind: VMDKChainTests.Kind) throws {
    var random = SeededRandom(seed: 11)
    for _ in 0..<3 {
      try HostTools.withFolder { folder in
        let (top, content) = try VMDKChainTests.make([kind], in: folder, &random)
        try HostTools.run(
          "qemu-img", ["convert", "-f", "vmdk", "-O", "raw", top, "\(folder)/out.raw"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/out.raw")) == Data(content))
        #expect(try same(OpenImage(path: top), as: "\(folder)/out.raw"))
      }
    }
  }

  /// Children of each kind that QEMU reads, on a base and on each other.
  @Test(
    arguments: [
      [.monolithic], [.split], [.vmfsSparse], [.seSparse],
      [.monolithic, .seSparse, .split, .vmfsSparse, .monolithic],
    ] as [[VMDKChainTests.Kind]])
  func builtChains(_ children: [VMDKChainTests.Kind]) throws {
    var random = SeededRandom(seed: 12)
    for base in [VMDKChainTests.Kind.flat, .monolithic, .stream] {
      try HostTools.withFolder { folder in
        let (top, content) = try VMDKChainTests.make([base] + children, in: folder, &random)
        try HostTools.run(
          "qemu-img", ["convert", "-f", "vmdk", "-O", "raw", top, "\(folder)/out.raw"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/out.raw")) == Data(content))
      }
    }
  }

  /// Children that qemu-img makes: monolithicSparse and twoGbMaxExtentSparse on any base.
  @Test(arguments: subformats) func childrenOfQEMU(_ base: String) throws {
    try HostTools.withFolder { folder in
      try Self.makeRaw("\(folder)/in.raw", size: 8 << 20)
      try HostTools.run(
        "qemu-img",
        [
          "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=\(base)", "\(folder)/in.raw",
          "\(folder)/0.vmdk",
        ])
      for level in 1...3 {
        let path = "\(folder)/\(level).vmdk"
        try HostTools.run(
          "qemu-img",
          [
            "create", "-f", "vmdk", "-F", "vmdk", "-b", "\(folder)/\(level - 1).vmdk", "-o",
            level == 2 ? "subformat=twoGbMaxExtentSparse" : "zeroed_grain=on", path,
          ])
        try HostTools.run(
          "qemu-io",
          [
            "-f", "vmdk", "-c", "write -P \(level) \(level * 100_000) 70000", "-c",
            "write -z \(level << 20) 128k", path,
          ])
      }
      try HostTools.run(
        "qemu-img",
        ["convert", "-f", "vmdk", "-O", "raw", "\(folder)/3.vmdk", "\(folder)/out.raw"])
      let image = try OpenImage(path: "\(folder)/3.vmdk")
      #expect(image.notes.isEmpty && image.disk.layers.count == 4)
      #expect(try same(image, as: "\(folder)/out.raw"))
    }
  }

  /// Images of other projects, by the digests of shared/images.
  @Test(
    .enabled(if: SharedImages.exist, "shared/images is missing"),
    arguments: [
      "ext2", "monolithicSparse", "streamOptimized", "twoGbMaxExtentSparse",
    ])
  func sharedImages(_ name: String) throws {
    let folder = try #require(SharedImages.folder)
    let table = try String(contentsOfFile: "\(folder)/EXPECTED.tsv", encoding: .utf8)
    let row = try #require(
      table.split(separator: "\n").first { $0.hasPrefix("\(name).vmdk\t") }
    ).split(separator: "\t")
    let image = try OpenImage(path: "\(folder)/\(name).vmdk")
    #expect(image.disk.size == UInt64(row[2]))
    try HostTools.withFolder { scratch in
      let file = "\(scratch)/out"
      var data = Data()
      try image.disk.whole.stream { piece in
        piece.withUnsafeBytes { data.append(contentsOf: $0) }
      }
      try data.write(to: URL(fileURLWithPath: file))
      #expect(try HostTools.run("sha256sum", [file]).hasPrefix(row[3]))
    }
  }
}
