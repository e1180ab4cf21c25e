import DiskCore
import ImageFormats
import TestSupport
import Testing

/// `vmfsSparse` and `seSparse` extents, alone; `VMDKChainTests` has them on parents.
@Suite struct VMDKDeltaTests {
  @Test func copyOnWriteByHand() throws {
    var builder = VMDKCopyOnWriteBuilder(capacity: 4096 + 3)
    builder.grains = [
      1: [UInt8](repeating: 0x11, count: 512), 2: [UInt8](repeating: 0x22, count: 512),
      4098: [UInt8](repeating: 0x33, count: 512),
    ]
    // Header 4 sectors, directory 1, two tables of 32: grains from 69 on.
    #expect(builder.file.size == (69 + 3) * 512)
    let image = try OpenedImage(builder.file.storage(path: "disk-delta.vmdk"))
    #expect(image.disk.size == 4099 * 512)
    let layer = image.disk.layers[0]
    #expect(layer.description.subformat == "vmfsSparse")
    #expect(layer.description.details.map(\.value) == ["512"])
    #expect(
      try image.map.filter { !$0.hasSuffix("zero") } == [
        "512+1024 \(69 * 512)", "\(4098 * 512)+512 \(71 * 512)",
      ])
    #expect(try image.bytes(510, 4) == [0, 0, 0x11, 0x11])
    #expect(try image.bytes(1022, 4) == [0x11, 0x11, 0x22, 0x22])
    #expect(try image.bytes(4098 * 512 - 1, 3) == [0, 0x33, 0x33])
  }

  @Test func copyOnWriteHeaders() throws {
    for (field, value, kind) in [
      (4, 0, .unsupported), (4, 2, .unsupported), (16, 0, .malformed), (16, 3, .malformed),
      (16, 1 << 22, .malformed), (16, .max, .malformed), (20, 0, .malformed), (20, 3, .malformed),
      (20, .max, .truncated), (24, 1, .malformed), (12, .max, .malformed),
    ] as [(Int, UInt32, DiskError.Kind)] {
      var builder = VMDKCopyOnWriteBuilder(capacity: 5000)
      builder.grains = [1: [UInt8](repeating: 1, count: 512)]
      builder.editHeader = { $0.putLittle(value, at: field) }
      let error = #expect(throws: DiskError.self) {
        try OpenedImage(builder.file.storage(path: "x.vmdk"))
      }
      #expect(error?.kind == kind && error?.offset != nil, "\(field) \(value)")
    }
  }

  /// A grain's number is turned in its entry: bits 0 to 11 stand at 48, the others at 0.
  @Test func spaceEfficientByHand() throws {
    var builder = VMDKSpaceEfficientBuilder(capacity: 32768 * 2 + 9)
    builder.grains = [
      0: .data([UInt8](repeating: 0x11, count: 4096)),
      1: .data([UInt8](repeating: 0x22, count: 4096)), 2: .zero, 3: .unmapped,
      4096: .data([UInt8](repeating: 0x33, count: 4096)),
      8193: .data([UInt8](repeating: 0x44, count: 4096)),
    ]
    builder.numbers = [4096: 0x1234]
    // Directory of three entries in sector 2048, tables from 2049, in the order 2, 1, 0; room for
    // three of them; grains from the next multiple of 8 and 16 more.
    let grains = (2049 + 192 + 7) / 8 * 8 + 16
    #expect(builder.grainsSector == grains)
    let bytes = builder.file.bytes
    #expect(Array(bytes[2048 * 512..<2048 * 512 + 8]) == [2, 0, 0, 0, 0, 0, 0, 0x10])
    let entry = (2049 + 64) * 512
    #expect(Array(bytes[entry..<entry + 8]) == [1, 0, 0, 0, 0, 0, 0x34, 0x32])
    let image = try OpenedImage(builder.file.storage(path: "disk-sesparse.vmdk"))
    #expect(image.disk.layers[0].description.subformat == "seSparse")
    #expect(
      try image.map.filter { !$0.hasSuffix("zero") } == [
        "0+8192 \(grains * 512)", "16777216+4096 \(grains * 512 + 0x1234 * 4096)",
        "33558528+512 \(grains * 512 + 2 * 4096)",
      ])
    #expect(try image.bytes(4095, 2) == [0x11, 0x22])
    #expect(try image.bytes(8190, 4) == [0x22, 0x22, 0, 0])
    #expect(try image.bytes(16_777_216, 1) == [0x33])
    #expect(try image.bytes(33_558_528, 512) == [UInt8](repeating: 0x44, count: 512))
  }

  @Test func spaceEfficientHeaders() throws {
    for (field, value, kind) in [
      (8, 0x2_0000_0002, .unsupported), (8, 0x1_0000_0001, .unsupported), (24, 16, .unsupported),
      (24, 0, .unsupported), (32, 0, .unsupported), (40, 1, .unsupported),
      (16, 1 << 60, .malformed), (16, 1 << 40, .malformed), (80, .max, .malformed),
      (80, 1 << 40, .truncated), (80, 2, .malformed), (128, .max, .malformed),
      (128, 1 << 40, .truncated), (128, 0, .malformed), (136, 0, .malformed),
      (144, .max, .malformed), (192, 1 << 55, .malformed),
    ] as [(Int, UInt64, DiskError.Kind)] {
      var builder = VMDKSpaceEfficientBuilder(capacity: 5000)
      builder.grains = [1: .data([UInt8](repeating: 1, count: 4096))]
      builder.editHeader = { $0.putLittle(value, at: field) }
      let error = #expect(throws: DiskError.self) {
        try OpenedImage(builder.file.storage(path: "x.vmdk"))
      }
      #expect(error?.kind == kind && error?.offset != nil, "\(field) \(value)")
    }
  }

  @Test func journalThatMustBeReplayed() throws {
    var builder = VMDKSpaceEfficientBuilder(capacity: 5000)
    builder.editVolatile = { $0.putLittle(1 as UInt64, at: 24) }
    let error = #expect(throws: DiskError.self) {
      try OpenedImage(builder.file.storage(path: "x.vmdk"))
    }
    #expect(error?.kind == .unsupported && error?.offset == 512 + 24)
    #expect(error?.message.contains("journal must be replayed") == true)
  }

  /// Entries that no writer makes fail for what they are for, and for nothing else.
  @Test(
    arguments: [
      (0x4000_0000_0000_0000, .malformed), (0xF000_0000_0000_0001, .malformed),
      (0x0000_0000_0000_0001, .malformed), (0x3FFF_FFFF_FFFF_FFFF, .truncated),
      (0x3000_0000_0000_1000, .truncated),
    ] as [(UInt64, DiskError.Kind)])
  func spaceEfficientEntries(_ entry: UInt64, _ kind: DiskError.Kind) throws {
    var builder = VMDKSpaceEfficientBuilder(capacity: 24)
    builder.grains = [0: .data([UInt8](repeating: 1, count: 4096)), 2: .zero]
    builder.editTables = { $0.putLittle(entry, at: 8) }
    let image = try OpenedImage(builder.file.storage(path: "x.vmdk"))
    let error = #expect(throws: DiskError.self) { try image.bytes(8191, 1) }
    #expect(error?.kind == kind && error?.offset != nil)
    #expect(try image.bytes(0, 4096) == [UInt8](repeating: 1, count: 4096))
    #expect(try image.bytes(8192, 4096) == [UInt8](repeating: 0, count: 4096))
  }

  @Test(
    arguments: [
      (0x2000_0000_0000_0000, .malformed), (1, .malformed), (0x1000_0001_0000_0000, .malformed),
      (0x1000_0000_FFFF_FFFF, .truncated),
    ] as [(UInt64, DiskError.Kind)])
  func spaceEfficientDirectoryEntries(_ entry: UInt64, _ kind: DiskError.Kind) throws {
    var builder = VMDKSpaceEfficientBuilder(capacity: 32769)
    builder.grains = [0: .data([UInt8](repeating: 1, count: 4096))]
    builder.editDirectory = { $0.putLittle(entry, at: 8) }
    let image = try OpenedImage(builder.file.storage(path: "x.vmdk"))
    let error = #expect(throws: DiskError.self) { try image.bytes(16 << 20, 1) }
    #expect(error?.kind == kind && error?.offset == 2048 * 512 + 8)
    #expect(try image.bytes(0, 4096) == [UInt8](repeating: 1, count: 4096))
  }
}
