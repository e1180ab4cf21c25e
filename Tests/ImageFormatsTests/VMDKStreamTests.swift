import DiskCore
import ImageFormats
import TestSupport
import Testing

/// Compressed grains, and the directory at the end of the file.
@Suite struct VMDKStreamTests {
  private static func stream(
    _ stream: VMDKBuilder.Stream, capacity: UInt64 = 200 * 128 - 31
  ) -> VMDKBuilder {
    var builder = VMDKBuilder(capacity: capacity)
    builder.grainSectors = 128
    builder.entriesPerTable = 64
    builder.version = 3
    builder.stream = stream
    builder.descriptor = VMDKBuilder.text(
      "streamOptimized", ["RW \(capacity) SPARSE \"disk.vmdk\""])
    for index in [0, 1, 63, 64, 199] {
      builder.grains[index] = .data(ImageBytes.pattern(65536, seed: UInt64(index)))
    }
    return builder
  }

  private func failure(
    _ builder: VMDKBuilder, at place: Int, _ kind: DiskError.Kind
  ) throws -> DiskError {
    let image = try OpenedImage(builder)
    let error = try #require(
      #expect(throws: DiskError.self) { try image.bytes(place, 1) })
    #expect(error.kind == kind && error.path == "disk.vmdk" && error.offset != nil)
    // The grain beside it is not touched by it.
    #expect(try image.bytes(0, 65536) == builder.content(0..<65536))
    return error
  }

  @Test(arguments: [VMDKBuilder.Stream.footer, .directoryInHeader])
  func reads(_ stream: VMDKBuilder.Stream) throws {
    let builder = Self.stream(stream)
    let image = try OpenedImage(builder)
    #expect(image.disk.layers[0].description.subformat == "streamOptimized")
    #expect(image.notes.isEmpty)
    #expect(try image.all == builder.content)
    #expect(
      try image.map.map { $0.prefix { $0 != " " } } == [
        "0+131072", "131072+3997696", "4128768+131072", "4259840+8781824", "13041664+49664",
      ])
    // Across grains, and within one.
    #expect(try image.bytes(65530, 12) == builder.content(65530..<65542))
    #expect(try image.bytes(70_000, 5) == builder.content(70_000..<70_005))
  }

  /// A grain of 128 sectors by hand: marker of 12 bytes, then zlib.
  @Test func byHand() throws {
    var builder = VMDKBuilder(capacity: 8)
    builder.stream = .directoryInHeader
    builder.grains = [0: .data([0x41])]
    builder.editGrain = { _, grain in
      grain = ImageBytes(
        [0, 0, 0, 0, 0, 0, 0, 0] + [UInt8(Self.letterA.count), 0, 0, 0] + Self.letterA)
    }
    let image = try OpenedImage(builder)
    #expect(try image.all == [0x41] + [UInt8](repeating: 0, count: 4095))
  }

  /// What Python's `zlib.compress(b"A" + bytes(4095))` gives.
  private static let letterA: [UInt8] = [
    0x78, 0x9C, 0xED, 0xC1, 0x01, 0x09, 0x00, 0x00, 0x00, 0x02, 0xA0, 0xAE, 0xF5, 0xFF, 0x54, 0x3F,
    0x42, 0x6D, 0x00, 0x00, 0x00, 0x80, 0x77, 0x03, 0x20, 0x3C, 0x00, 0x42,
  ]

  /// The last grain may end with the disk.
  @Test(arguments: [0, 1, 512, 97 * 512 - 1]) func lastGrain(_ missing: Int) throws {
    var builder = Self.stream(.footer)
    let last = ImageBytes.pattern(65536, seed: 199)
    let kept = 97 * 512
    builder.editGrain = { index, grain in
      guard index == 199 else { return }
      let packed = Zlib.stored(Array(last.prefix(kept - missing)))
      grain = ImageBytes(Array(grain.bytes.prefix(8)))
      grain.putLittle(UInt32(packed.count), at: 8)
      grain.put(packed, at: 12)
    }
    if missing == 0 {
      #expect(try OpenedImage(builder).all == builder.content)
    } else {
      let error = try failure(builder, at: 199 * 65536, .malformed)
      #expect(
        error.message == "a compressed grain holds \(kept - missing) bytes in place of 65536")
    }
  }

  @Test func damagedGrains() throws {
    let one = 65536
    var builder = Self.stream(.footer)
    builder.editGrain = { if $0 == 1 { $1.put([$1.bytes[5000] ^ 1], at: 5000) } }
    #expect(try failure(builder, at: one, .malformed).message == "a compressed grain is damaged")
    // Somebody else's place.
    builder.editGrain = { if $0 == 1 { $1.putLittle(129 as UInt64, at: 0) } }
    #expect(
      try failure(builder, at: one, .malformed).message
        == "a grain says that it belongs at sector 129 of the disk, not at 128")
    for length in [0, 131_073, .max] as [UInt32] {
      builder.editGrain = { if $0 == 1 { $1.putLittle(length, at: 8) } }
      #expect(
        try failure(builder, at: one, .malformed).message.contains("\(length) bytes compressed"))
    }
    // More than a grain.
    builder.editGrain = { index, grain in
      guard index == 1 else { return }
      let packed = Zlib.stored([UInt8](repeating: 5, count: 65537))
      grain.putLittle(UInt32(packed.count), at: 8)
      grain.put(packed, at: 12)
    }
    #expect(
      try failure(builder, at: one, .malformed).message
        == "a compressed grain holds more than 65536 bytes")
  }

  /// CVE-2026-2243: a marker at the end of the file, with little or nothing behind it.
  @Test(arguments: [0, 4, 11, 12, 13, 100]) func grainAtTheEndOfTheFile(_ kept: Int) throws {
    var builder = Self.stream(.directoryInHeader)
    let size = builder.file.size
    builder.editTables = { $0.putLittle(UInt32(size / 512), at: 4) }
    var grain = ImageBytes(count: 12)
    grain.putLittle(128 as UInt64, at: 0)
    grain.putLittle(500 as UInt32, at: 8)
    grain.grow(to: 100)
    let bytes = builder.file.bytes + grain.bytes.prefix(kept)
    let image = try OpenedImage(MemoryStorage(bytes, path: "end.vmdk"))
    let error = #expect(throws: DiskError.self) { try image.bytes(65536, 1) }
    #expect(error?.kind == .truncated && error?.offset == size)
    #expect(try image.bytes(0, 65536) == builder.content(0..<65536))
  }

  @Test func grainsOnTheImagesOwnStructures() throws {
    for sector in [1, 20] as [UInt32] {
      var builder = Self.stream(.directoryInHeader)
      builder.editTables = { $0.putLittle(sector, at: 4) }
      #expect(try failure(builder, at: 65536, .malformed).offset == UInt64(sector) * 512)
    }
  }

  @Test func footers() throws {
    let builder = Self.stream(.footer)
    let bytes = builder.file.bytes
    let open = { (bytes: [UInt8]) throws(DiskError) in
      try OpenedImage(MemoryStorage(bytes, path: "x.vmdk"))
    }
    // Bytes behind the end.
    for count in [1, 511, 512, 5000, 60_000] {
      let image = try open(bytes + [UInt8](repeating: 0, count: count))
      #expect(try image.all == builder.content)
      #expect(
        image.notes == ["'x.vmdk': there are bytes behind its end, which were not looked at"])
    }
    // None: the file was cut off.
    for count in [1024, 1536, 5000] {
      let error = #expect(throws: DiskError.self) { try open(Array(bytes.dropLast(count))) }
      #expect(error?.kind == .truncated && error?.offset == UInt64(bytes.count - count))
      #expect(error?.message.contains("ends too early") == true)
    }
    // One that points on, too.
    var endless = builder
    endless.editFooter = { $0.putLittle(UInt64.max, at: 56) }
    #expect(throws: DiskError.self) { try OpenedImage(endless) }
    // It governs.
    var shorter = builder
    shorter.editFooter = { $0.putLittle(128 as UInt64, at: 12) }
    #expect(try OpenedImage(shorter).disk.size == 65536)
  }

  /// Without markers a grain is its length and its data, as VMware's open-vmdk has it.
  @Test func withoutMarkers() throws {
    var builder = Self.stream(.directoryInHeader)
    builder.editHeader = { $0.putLittle(0x10001 as UInt32, at: 8) }
    builder.editGrain = { $1 = ImageBytes(Array($1.bytes.dropFirst(8))) }
    #expect(try OpenedImage(builder).all == builder.content)
  }

  @Test func otherCompressionIsRefused() throws {
    var builder = Self.stream(.footer)
    for algorithm in [0, 2, 0xFFFF] as [UInt16] {
      builder.editHeader = { $0.putLittle(algorithm, at: 77) }
      let error = #expect(throws: DiskError.self) { try OpenedImage(builder) }
      #expect(error?.kind == .unsupported && error?.offset == 77)
    }
  }
}
