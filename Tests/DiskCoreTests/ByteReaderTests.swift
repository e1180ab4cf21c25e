import DiskCore
import Testing

@Suite struct ByteReaderTests {
  /// 00 01 02 … 1f.
  private let counting = ByteReader(Array(0...31), path: "disk.img", base: 4096)

  /// Where no field can be, near every end of the integers.
  private static let outside = [-1, 33, .max, .max - 1, .max - 7, .max / 2 + 1, .min, .min + 1]

  @Test func integersInBothOrders() throws {
    #expect(try counting.u8(at: 5) == 5)
    #expect(try counting.u16(at: 1) == 0x0201)
    #expect(try counting.u16(at: 1, .big) == 0x0102)
    #expect(try counting.u32(at: 4) == 0x0706_0504)
    #expect(try counting.u32(at: 4, .big) == 0x0405_0607)
    #expect(try counting.u64(at: 8) == 0x0F0E_0D0C_0B0A_0908)
    #expect(try counting.u64(at: 8, .big) == 0x0809_0A0B_0C0D_0E0F)
    #expect(
      try counting.integer(at: 16, as: UInt128.self, .big)
        == 0x1011_1213_1415_1617_1819_1A1B_1C1D_1E1F)
    let high = ByteReader([0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8])
    #expect(try high.u8(at: 0) == 255)
    #expect(try high.u64(at: 0) == 0xF8F9_FAFB_FCFD_FEFF)
    #expect(try high.u64(at: 0, .big) == 0xFFFE_FDFC_FBFA_F9F8)
  }

  @Test func theLastPlaceThatFits() throws {
    #expect(try counting.u8(at: 31) == 0x1F)
    #expect(try counting.u16(at: 30, .big) == 0x1E1F)
    #expect(try counting.u32(at: 28, .big) == 0x1C1D_1E1F)
    #expect(try counting.u64(at: 24, .big) == 0x1819_1A1B_1C1D_1E1F)
    #expect(try counting.slice(at: 32, count: 0).isEmpty)
    #expect(try Array(counting.slice(at: 30, count: 2)) == [30, 31])
    #expect(try counting.text(at: 32, count: 0) == "")
    #expect(try counting.utf16(at: 32, units: 0) == "")
  }

  @Test(arguments: [(32, 1), (31, 2), (29, 4), (25, 8), (17, 16)])
  func onePlaceFurther(_ offset: Int, _ width: Int) {
    let error = #expect(throws: DiskError.self) {
      switch width {
      case 1: _ = try counting.u8(at: offset)
      case 2: _ = try counting.u16(at: offset)
      case 4: _ = try counting.u32(at: offset)
      case 8: _ = try counting.u64(at: offset)
      default: _ = try counting.uuid(at: offset)
      }
    }
    #expect(error?.kind == .truncated && error?.path == "disk.img" && error?.offset == 4096)
    #expect(
      error?.message == "a field of \(width) bytes lies outside the 32 bytes of its structure")
    #expect(throws: DiskError.self) { try counting.slice(at: offset, count: width) }
  }

  @Test(arguments: outside) func offsetsThatCannotBe(_ offset: Int) {
    for order in [ByteReader.ByteOrder.little, .big] {
      #expect(throws: DiskError.self) { try counting.u8(at: offset) }
      #expect(throws: DiskError.self) { try counting.u16(at: offset, order) }
      #expect(throws: DiskError.self) { try counting.u32(at: offset, order) }
      #expect(throws: DiskError.self) { try counting.u64(at: offset, order) }
      #expect(throws: DiskError.self) { try counting.utf16(at: offset, units: 0, order) }
      #expect(throws: DiskError.self) { try counting.utf16(at: offset, units: 1, order) }
    }
    for count in [0, 1, 16, .max] {
      #expect(throws: DiskError.self) { try counting.slice(at: offset, count: count) }
      #expect(throws: DiskError.self) { try counting.text(at: offset, count: count) }
    }
    #expect(throws: DiskError.self) { try counting.uuid(at: offset) }
    #expect(throws: DiskError.self) { try counting.guid(at: offset) }
    #expect(!counting.matches([], at: offset))
    #expect(!counting.matches([0], at: offset))
    #expect(!counting.matches("x", at: offset))
  }

  @Test(arguments: [-1, 33, .max, .max / 2 + 1, .min]) func lengthsThatCannotBe(_ count: Int) {
    for offset in [0, 1, 31, 32] {
      #expect(throws: DiskError.self) { try counting.slice(at: offset, count: count) }
      #expect(throws: DiskError.self) { try counting.text(at: offset, count: count) }
    }
  }

  /// Twice −2⁶³ is 0 in 64 bits, and twice −2⁶³ + 4 is 8: sums that wrap must not look like fields.
  @Test(arguments: [-1, 17, .max, .max / 2 + 1, -4_611_686_018_427_387_904, .min, .min + 4])
  func unitsThatCannotBe(_ units: Int) {
    #expect(throws: DiskError.self) { try counting.utf16(at: 0, units: units) }
  }

  @Test func integersInARow() throws {
    #expect(
      try counting.integers(at: 1, count: 2, .little) == [0x0403_0201, 0x0807_0605] as [UInt32])
    #expect(try counting.integers(at: 3, count: 2, .big) == [0x0304, 0x0506] as [UInt16])
    #expect(
      try counting.integers(at: 16, count: 2, .big)
        == [0x1011_1213_1415_1617, 0x1819_1A1B_1C1D_1E1F] as [UInt64])
    #expect(try counting.integers(at: 30, count: 2, .big) == [30, 31] as [UInt8])
    #expect(try counting.integers(at: 32, count: 0, .big) == [] as [UInt64])
    for (offset, count) in [
      (17, 2), (0, 5), (32, 1), (33, 0), (-1, 0), (0, -1), (0, .max), (0, .max / 8 + 1), (0, .min),
      (8, .max / 8), (.max, 1), (.max, .max),
    ] as [(Int, Int)] {
      #expect(throws: DiskError.self) {
        try counting.integers(at: offset, count: count, as: UInt64.self, .big)
      }
    }
  }

  @Test func nothingAtAll() {
    let empty = ByteReader([])
    #expect(empty.count == 0)
    #expect(throws: DiskError.self) { try empty.u8(at: 0) }
    #expect(empty.matches([], at: 0) && !empty.matches([0], at: 0))
  }

  @Test func matching() {
    let reader = ByteReader(Array("xconectix".utf8))
    #expect(reader.matches("conectix", at: 1))
    #expect(!reader.matches("conectix", at: 0))
    #expect(!reader.matches("conectix", at: 2), "only part of it is there")
    #expect(reader.matches([0x78, 0x63], at: 0))
    #expect(!reader.matches([0x78, 0x64], at: 0))
  }

  @Test func text() throws {
    let reader = ByteReader(
      Array("vpc \0junk".utf8) + [0xFF, 0x61] + Array("größe  ".utf8) + Array("  a b  ".utf8))
    #expect(try reader.text(at: 0, count: 9) == "vpc")
    #expect(try reader.text(at: 4, count: 5) == "")
    #expect(try reader.text(at: 9, count: 2) == "\u{FFFD}a")
    #expect(try reader.text(at: 11, count: 9) == "größe")
    #expect(try reader.text(at: 20, count: 7) == "  a b")
    #expect(try ByteReader(Array("   ".utf8)).text(at: 0, count: 3) == "")
  }

  @Test func utf16() throws {
    // "é", then U+1F427 as its surrogate pair D83D DC27, then a NUL and what is behind it.
    let little = ByteReader([0xE9, 0, 0x3D, 0xD8, 0x27, 0xDC, 0, 0, 0x41, 0])
    let big = ByteReader([0, 0xE9, 0xD8, 0x3D, 0xDC, 0x27, 0, 0, 0, 0x41])
    #expect(try little.utf16(at: 0, units: 5) == "é🐧")
    #expect(try big.utf16(at: 0, units: 5, .big) == "é🐧")
    #expect(try little.utf16(at: 0, units: 2) == "é\u{FFFD}", "half of a pair")
    #expect(try little.utf16(at: 4, units: 1) == "\u{FFFD}", "the other half")
    #expect(try little.utf16(at: 8, units: 1) == "A")
    #expect(throws: DiskError.self) { try little.utf16(at: 0, units: 6) }
  }

  @Test func identifiers() throws {
    // RFC 4122's own example, and the same bytes read with three little-endian groups.
    let bytes: [UInt8] = [
      0xF8, 0x1D, 0x4F, 0xAE, 0x7D, 0xEC, 0x11, 0xD0, 0xA7, 0x65, 0x00, 0xA0, 0xC9, 0x1E, 0x6B,
      0x0F,
    ]
    let reader = ByteReader([0] + bytes)
    #expect(try reader.uuid(at: 1) == "f81d4fae-7dec-11d0-a765-00a0c91e6b0f")
    #expect(try reader.guid(at: 1) == "ae4f1df8-ec7d-d011-a765-00a0c91e6b0f")
    // UEFI's GUID of a Linux partition.
    let linux = ByteReader([
      0xAF, 0x3D, 0xC6, 0x0F, 0x83, 0x84, 0x72, 0x47, 0x8E, 0x79, 0x3D, 0x69, 0xD8, 0x47, 0x7D,
      0xE4,
    ])
    #expect(try linux.guid(at: 0) == "0fc63daf-8483-4772-8e79-3d69d8477de4")
    #expect(throws: DiskError.self) { try reader.guid(at: 2) }
  }
}
