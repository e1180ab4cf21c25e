import DiskCore
import Foundation
import ImageFormats
import TestSupport
import Testing

@Suite struct BochsTests {
  private static func opened(_ builder: BochsBuilder) throws -> OpenedImage {
    try OpenedImage(builder.file.storage(path: "c.img"))
  }

  private static func sector(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 512) }

  @Test(arguments: [1, 2]) func byHand(_ version: Int) throws {
    var builder = BochsBuilder(size: 3 * 4096)
    builder.version = version
    builder.sectors = [
      0: Self.sector(1), 1: Self.sector(2), 7: Self.sector(3), 16: Self.sector(4),
    ]
    builder.order = [2, 0]
    let image = try Self.opened(builder)
    #expect(image.disk.size == 12_288)
    #expect(try image.all == builder.content())
    // Header 512, catalog of 12 bytes, then a bitmap of a sector before each extent of 4,096 bytes.
    #expect(
      try image.map == [
        "0+1024 5644", "1024+2560 zero", "3584+512 9228", "4096+4096 zero", "8192+512 1036",
        "8704+3584 zero",
      ])
    #expect(image.disk.layers[0].tableBytes == 12 + 2 * 512)
    let description = image.disk.layers[0].description
    #expect(description.format == "bochs" && description.subformat == "growing")
    #expect(image.parsed.parent == nil && image.notes.isEmpty)
  }

  /// Catalogs longer than needed, as Bochs makes them, and bitmaps of more than a sector.
  @Test(arguments: (9...23).map { UInt32(1) << $0 })
  func anyExtentSizeInAnyOrder(_ extentSize: UInt32) throws {
    for seed in 0..<5 as Range<UInt64> {
      var random = SeededRandom(seed: UInt64(extentSize) + seed)
      let perExtent = Int(extentSize) / 512
      let sectors = Int.random(in: 1...perExtent * 6, using: &random)
      var builder = BochsBuilder(size: UInt64(sectors * 512))
      builder.extentSize = extentSize
      builder.catalogEntries = UInt32.random(in: 6...512, using: &random)
      var place = 0
      // Runs of every length, also across extents.
      while place < sectors {
        let run = Int.random(in: 1...min(sectors - place, 40), using: &random)
        if Bool.random(using: &random) {
          for sector in place..<place + run {
            builder.sectors[sector] = ImageBytes.pattern(512, seed: UInt64(sector))
          }
        }
        place += run + Int.random(in: 0...max(1, sectors / 10), using: &random)
      }
      builder.order = builder.extents.shuffled(using: &random)
      let image = try Self.opened(builder)
      let content = builder.content()
      for _ in 0..<20 {
        let start = Int.random(in: 0...content.count, using: &random)
        let range = start..<min(content.count, start + Int.random(in: 0...9000, using: &random))
        #expect(try image.bytes(range.lowerBound, range.count) == Array(content[range]))
      }
      if extentSize <= 1 << 16 { #expect(try image.all == content) }
    }
  }

  /// An undoable disk's redolog lies on the image that it is named after.
  @Test func undoable() throws {
    try HostTools.withFolder { folder in
      let base = ImageBytes.pattern(12_288, seed: 1)
      var builder = BochsBuilder("Undoable", size: 12_288)
      builder.sectors = [0: Self.sector(0), 9: Self.sector(9), 23: Self.sector(7)]
      try HostTools.write(base, to: "\(folder)/c.img")
      try HostTools.write(builder.file.bytes, to: "\(folder)/c.img.redolog")
      let image = try OpenImage(path: "\(folder)/c.img.redolog")
      #expect(image.disk.layers.map(\.description.format) == ["bochs", "raw"])
      #expect(try image.content == builder.content(over: base))
      // Bochs refuses a base of another size.
      try HostTools.write(base.dropLast(512), to: "\(folder)/c.img")
      let error = #expect(throws: DiskError.self) {
        try OpenImage(path: "\(folder)/c.img.redolog")
      }
      #expect(error?.kind == .invalidRequest)
      #expect(error?.message.contains("it has the size in bytes 11776, not 12288") == true)
      // What would fit is named, also from a path that starts here.
      try FileManager.default.removeItem(atPath: "\(folder)/c.img")
      try HostTools.write(base, to: "\(folder)/moved.img")
      let up = FileManager.default.currentDirectoryPath.split(separator: "/").map { _ in ".." }
      for start in ["", up.joined(separator: "/")] {
        let missing = #expect(throws: DiskError.self) {
          try OpenImage(path: "\(start)\(folder)/c.img.redolog")
        }
        #expect(missing?.kind == .notFound)
        #expect(
          missing?.message.hasSuffix(
            "beside it \(start)\(folder)/moved.img fits: platter info --parent "
              + "\(start)\(folder)/moved.img \(start)\(folder)/c.img.redolog") == true,
          "\(String(describing: missing))")
      }
    }
  }

  /// Growing, and an undoable redolog on it: a chain.
  @Test func undoableOnGrowing() throws {
    try HostTools.withFolder { folder in
      var base = BochsBuilder(size: 12_288)
      base.sectors = [0: Self.sector(1), 8: Self.sector(2), 20: Self.sector(3)]
      var builder = BochsBuilder("Undoable", size: 12_288)
      builder.sectors = [8: Self.sector(9)]
      try HostTools.write(base.file.bytes, to: "\(folder)/c.img")
      try HostTools.write(builder.file.bytes, to: "\(folder)/c.img.redolog")
      let image = try OpenImage(path: "\(folder)/c.img.redolog")
      #expect(try image.content == builder.content(over: base.content()))
    }
  }

  /// What a volatile disk was writing when Bochs died: nothing says what it was written for.
  @Test func volatile() throws {
    try HostTools.withFolder { folder in
      let base = ImageBytes.pattern(12_288, seed: 1)
      var builder = BochsBuilder("Volatile", size: 12_288)
      builder.sectors = [3: Self.sector(9)]
      try HostTools.write(base, to: "\(folder)/c.img")
      try HostTools.write(builder.file.bytes, to: "\(folder)/c.img.Xa81bC")
      let error = #expect(throws: DiskError.self) {
        try OpenImage(path: "\(folder)/c.img.Xa81bC")
      }
      #expect(error?.kind == .notFound && error?.message.contains("--parent FILE") == true)
      let image = try OpenImage(
        path: "\(folder)/c.img.Xa81bC", options: ImageOptions(parents: ["\(folder)/c.img"]))
      #expect(try image.content == builder.content(over: base))
    }
  }
}

/// The Bochs row of shared/HOSTILE.md, and its like.
@Suite struct HostileBochsTests {
  private func builder() -> BochsBuilder {
    var builder = BochsBuilder(size: 10 * 4096)
    for sector in [0, 1, 30] { builder.sectors[sector] = ImageBytes.pattern(512, seed: 1) }
    return builder
  }

  private func refusal(
    _ kind: DiskError.Kind = .malformed, at offset: UInt64,
    _ edit: @escaping BochsBuilder.Edit
  ) throws {
    var builder = builder()
    builder.editHeader = edit
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(builder.file.storage(path: "c.img"))
    }
    #expect(error?.kind == kind && error?.offset == offset, "\(String(describing: error))")
  }

  @Test(arguments: [0, 1, 256, 511, 513, 3 << 20, 1 << 29, .max] as [UInt32])
  func extentSizes(_ size: UInt32) throws {
    try refusal(at: 80) { $0.putLittle(size, at: 80) }
  }

  @Test(arguments: [0, 1 << 21, .max] as [UInt32]) func bitmapSizes(_ size: UInt32) throws {
    try refusal(at: 76) { $0.putLittle(size, at: 76) }
  }

  @Test func catalogs() throws {
    try refusal(.truncated, at: 512) { $0.putLittle(UInt32.max, at: 72) }
    try refusal(at: 72) { $0.putLittle(9 as UInt32, at: 72) }
    try refusal(at: 72) { $0.putLittle(0 as UInt32, at: 72) }
    // 2³² entries that the disk needs.
    try refusal(.truncated, at: 512) {
      $0.putLittle(UInt32.max, at: 72)
      $0.putLittle(UInt64(UInt32.max) << 12, at: 88)
    }
  }

  @Test(arguments: [1 << 62 + 1, .max] as [UInt64]) func sizes(_ size: UInt64) throws {
    try refusal(at: 88) { $0.putLittle(size, at: 88) }
  }

  @Test func otherFields() throws {
    try refusal(.unsupported, at: 64) { $0.putLittle(0x30000 as UInt32, at: 64) }
    try refusal(at: 68) { $0.putLittle(1024 as UInt32, at: 68) }
    try refusal(.unsupported, at: 32) { $0.put("Sparse\0", at: 32) }
    try refusal(.unsupported, at: 32) { $0.put("z-Undoable", at: 48) }
  }

  @Test(arguments: [3, 0x7FFF_FFFF, 0xFFFF_FFFE] as [UInt32]) func extentsPastTheEnd(
    _ entry: UInt32
  ) throws {
    var builder = builder()
    builder.editCatalog = { $0.putLittle(entry, at: 36) }
    let image = try OpenedImage(builder.file.storage(path: "c.img"))
    let error = #expect(throws: DiskError.self) { try image.bytes(40_000, 10) }
    #expect(error?.kind == .truncated && error?.offset == 552 + UInt64(entry) * 4608)
    #expect(try image.bytes(0, 36_864) == Array(builder.content().prefix(36_864)))
  }

  @Test func sectorsPastTheEnd() throws {
    let builder = builder()
    // Sector 30 is sector 6 of extent 3; the file ends before it.
    let bytes = Array(builder.file.bytes.dropLast(1024 - 200))
    let image = try OpenedImage(MemoryStorage(bytes, path: "c.img"))
    #expect(try image.bytes(0, 15_360 + 200) == Array(builder.content().prefix(15_560)))
    let error = #expect(throws: DiskError.self) { try image.bytes(15_560, 1) }
    #expect(error?.kind == .truncated && error?.offset == UInt64(bytes.count))
    // Sector 31 was not written.
    #expect(try image.bytes(15_872, 512) == [UInt8](repeating: 0, count: 512))
  }
}

@Suite struct BochsFuzzTests {
  private static let iterations = Soak.rounds(1500)

  @Test(arguments: ["Growing", "Undoable"]) func overwritten(_ subtype: String) throws {
    var builder = BochsBuilder(subtype, size: 20_480)
    builder.sectors = [0: [1], 3: [2], 39: [3]]
    let bytes = builder.file.bytes
    let fields = Array(48..<96) + Array(512..<532)
    var random = SeededRandom(seed: 11)
    var opened = 0
    for _ in 0..<Self.iterations {
      var image = ImageBytes(bytes)
      FuzzedImage.overwrite(&image, fields: fields, &random)
      let cut = Int.random(in: 0..<8, using: &random) == 0
      let kept = cut ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
      let damaged = Array(image.bytes.prefix(kept))
      if try FuzzedImage.survives(damaged, as: BochsFormat(), &random) { opened += 1 }
    }
    #expect(opened > Self.iterations / 10)
  }
}

@Suite(.enabled(if: HostTools.has("qemu-img"), "qemu-img is not installed"))
struct BochsToolTests {
  /// qemu-img makes none: what it reads in images of the builder.
  @Test(arguments: [4096, 65_536, 1 << 20] as [UInt32]) func built(_ extentSize: UInt32) throws {
    try HostTools.withFolder { folder in
      for version in [1, 2] {
        var random = SeededRandom(seed: UInt64(extentSize))
        let sectors = Int(extentSize) / 512 * 5 - 3
        var builder = BochsBuilder(size: UInt64(sectors * 512))
        builder.version = version
        builder.extentSize = extentSize
        // As Bochs makes them.
        builder.catalogEntries = 512
        for sector in 0..<sectors where Int.random(in: 0..<3, using: &random) == 0 {
          builder.sectors[sector] = ImageBytes.pattern(512, seed: UInt64(sector))
        }
        builder.order = builder.extents.shuffled(using: &random)
        try HostTools.write(builder.file.bytes, to: "\(folder)/x.img")
        let expected = try QEMU.raw("\(folder)/x.img", "bochs")
        #expect(try OpenImage(path: "\(folder)/x.img").content == expected)
        #expect(expected == builder.content())
      }
    }
  }
}
